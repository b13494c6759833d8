"""A stand-in for llama-server with its options and its engine: the real one, without its binary."""

from __future__ import annotations

import argparse
import os
import signal

import xllamacpp

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("-c", "--ctx-size", type=int, default=1024)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx_size
    params.n_parallel = 2
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    params.cache_ram_mib = 0
    params.ui = False
    server = xllamacpp.Server(params)
    signal.pause()

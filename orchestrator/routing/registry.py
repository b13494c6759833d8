"""Which models there are, and what each of their names means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from orchestrator.core.errors import DuplicateModelError, InvalidRequestError, ModelNotFoundError
from orchestrator.core.keys import ModelKey, canonical_provider
from orchestrator.core.model import Model, ModelSpec
from orchestrator.routing.pool import Pool, type_bits

__all__ = ["ModelRegistry"]


class ModelRegistry:
    """The models of one engine. Usable alone; every change is whole or not at all."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._models: dict[str, Model] = {}
        self._names: dict[str, list[str]] = {}
        self._version = 0
        self._pool: Pool | None = None
        self.register_models(models)

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, key: object) -> bool:
        return str(key) in self._models

    @property
    def pool(self) -> Pool:
        """The models as arrays, in the order of registration."""
        if self._pool is None:
            self._pool = Pool(self._version, list(self._models.values()))
        return self._pool

    def register_model(self, model: Model, *, replace: bool = False) -> ModelKey:
        """Add a model and return its key.

        Args:
            model: What to add.
            replace: Let it take the place of the one registered under its key.

        Raises:
            DuplicateModelError: Its key or one of its aliases is taken.
        """
        self.register_models([model], replace=replace)
        return model.key

    def register_models(self, models: Iterable[Model], *, replace: bool = False) -> None:
        """Add several models, or none if one of them cannot be added."""
        joined = dict(self._models)
        for model in models:
            if not isinstance(model, Model):
                raise InvalidRequestError(
                    f"{model!r} is not a Model", hint="subclass orchestrator.Model"
                )
            if not isinstance(getattr(model, "spec", None), ModelSpec):
                raise InvalidRequestError(
                    f"{type(model).__name__} says nothing of itself",
                    hint="call super().__init__(name, ...) in its __init__",
                )
            key = model.key.text
            if key in joined and not replace:
                raise DuplicateModelError(
                    f"{key} is registered already", hint="pass replace=True to put it in its place"
                )
            joined[key] = model
        self._adopt(joined)

    def unregister_model(self, name: str, provider: str = "") -> Model:
        """Remove a model and return it; calls in flight finish.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        key = self.resolve(name, provider)
        model = self._models[key]
        self._adopt({k: m for k, m in self._models.items() if k != key})
        return model

    def get_model(self, name: str, provider: str = "") -> Model:
        """Return a model by key, alias, or a bare name that only one provider has."""
        return self._models[self.resolve(name, provider)]

    def list_models(self, provider: str | None = None) -> list[str]:
        """Return the keys, all or one provider's, in the order of registration."""
        wanted = None if provider is None else canonical_provider(provider)
        return [k for k, m in self._models.items() if wanted in (None, m.provider)]

    def list_providers(self) -> list[str]:
        """Return the providers, in the order in which they first appeared."""
        return list(dict.fromkeys(m.provider for m in self._models.values()))

    def resolve(self, name: str, provider: str = "") -> str:
        """Return the key that a name means.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        matches = self.matches(name)
        if provider:
            wanted = canonical_provider(provider)
            of_provider = [key for key in matches if self._models[key].provider == wanted]
            matches = self.matches(f"{wanted}:{name}") or of_provider
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ModelNotFoundError(
                f"{name!r} is ambiguous", hint=f"name its provider: {', '.join(matches)}"
            )
        near = difflib.get_close_matches(name, [*self._models, *self._names], n=1)
        known = ", ".join(list(self._models)[:10]) or "none"
        raise ModelNotFoundError(
            f"there is no model {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"registered: {known}",
        )

    def matches(self, name: str) -> list[str]:
        """Return the keys of every model that a key, bare name or alias means."""
        if name in self._models:
            return [name]
        if name in self._names:
            return list(self._names[name])
        provider, colon, rest = name.partition(":")
        canonical = f"{canonical_provider(provider)}:{rest}"
        return [canonical] if colon and canonical in self._models else []

    def _adopt(self, models: dict[str, Model]) -> None:
        """Take this set of models once it has proved sound."""
        names: dict[str, list[str]] = {}
        for key, model in models.items():
            names.setdefault(model.name, []).append(key)
        for key, model in models.items():
            for alias in model.spec.aliases:
                taken = alias in models or [k for k in names.get(alias, ()) if k != key]
                if taken or not alias:
                    raise DuplicateModelError(
                        f"the alias {alias!r} of {key} is taken", hint="choose another alias"
                    )
                names[alias] = [key]
        type_bits(models.values())
        self._models, self._names = models, names
        self._version += 1
        self._pool = None

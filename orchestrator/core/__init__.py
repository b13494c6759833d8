"""What things are: keys, capabilities, requirements, decisions, statistics, events and errors.

Nothing here decides and nothing here touches the world. Everybody may import it; it imports
no other part of the project.
"""

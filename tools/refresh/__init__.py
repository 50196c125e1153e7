"""How `tools/refresh_knowledge.py` reads a package index, and what it makes of the tables of gpudoctor/knowledge."""

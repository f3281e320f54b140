"""Use cases, one file per resource. They call ports only. The rules of ONTAP are in keystead.core, not here."""

"""Use cases, one file per resource. They call ports only and hold no rule of ONTAP's: rules are in keystead.core."""

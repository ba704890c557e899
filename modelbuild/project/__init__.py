"""The declarations of ModelBuild.toml and Modelfiles, and the variants that they declare."""

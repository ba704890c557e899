"""What a user declares: a ModelBuild.toml and Modelfiles, and the variants that they mean."""

"""What a user declares in ModelBuild.toml and Modelfiles, and the variants that it declares."""

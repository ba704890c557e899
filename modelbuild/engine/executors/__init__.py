"""Where steps run: `inline`, at once, or in `threads`; the scheduler takes what suits the build."""

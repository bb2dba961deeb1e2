"""Modules that only the LCRE scripts call: each takes arrays, frames or paths and knows nothing of the scripts."""

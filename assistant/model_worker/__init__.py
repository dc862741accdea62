"""The process that speaks to language models: LiteLLM takes seconds to load, and no face waits for that here.

`__main__` is the process, `link` our side of it, `wire` what goes over its pipes.
"""

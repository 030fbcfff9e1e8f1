"""Names of the corpora, which loads nothing."""

# Corpus -> class in the module of the same name.
CORPORA = {
    "cnnspot": "CNNSpot",
    "diffseg30k": "DiffSeg30k",
    "folder": "Folder",
    "gamma_mix": "GammaMix",
    "genimage": "GenImage",
    "gptimgeval": "GPTImgEval",
    "loki": "Loki",
    "mmfr": "MMFR",
    "openai4o": "OpenAI4o",
    "promptforge": "PromptForge",
    "richhf18k": "RichHF18K",
    "sharegpt4o": "ShareGPT4o",
    "synthscars": "SynthScars",
    "synthwildx": "SynthWildX",
}

__all__ = ["CORPORA"]

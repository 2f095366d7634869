"""The page where people see, speak and listen; `multimodal demo` opens it. Needs gradio, the extra `demo`."""

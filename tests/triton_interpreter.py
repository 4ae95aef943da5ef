"""Triton's interpreter, so that it computes what a GPU does, runs beside a new NumPy, and takes half the time."""

import torch


def repair() -> None:
    """float32 to bfloat16 rounds to the nearest, where the interpreter would cut the digits off.

    Triton 3.6 takes the bounds of a loop out of its tensors in a way that NumPy 2.4 no longer has. And work that changes
    nothing is left out: bounds of every sum of integers, which are looked at in debug mode only, and the functions of the
    language replaced anew for every call of a function inside of a kernel.
    """
    try:
        from triton.runtime import interpreter
    except ImportError:
        return
    builder, language = interpreter.InterpreterBuilder, interpreter.tl
    convert, patch = builder.create_fp_trunc, interpreter._patch_lang_tensor
    launch, patch_language = interpreter.GridExecutor.__call__, interpreter._patch_lang
    replaced = set()

    def rounded(self, values, kind):
        if (values.dtype.scalar, kind.scalar) != (language.float32, language.bfloat16):
            return convert(self, values, kind)
        data = torch.from_numpy(values.data).bfloat16().view(torch.uint16).numpy()
        return interpreter.TensorHandle(data, kind.scalar)

    def patch_with_index(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    def launch_anew(self, *arguments, **options):
        replaced.clear()
        return launch(self, *arguments, **options)

    def patch_language_once(function):
        modules = frozenset(id(one) for one in function.__globals__.values() if one is language or one is language.core)
        if modules not in replaced:
            replaced.add(modules)
            return patch_language(function)

    builder.create_fp_trunc = rounded
    interpreter._patch_lang_tensor = patch_with_index
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)
    interpreter.GridExecutor.__call__ = launch_anew
    interpreter._patch_lang = patch_language_once

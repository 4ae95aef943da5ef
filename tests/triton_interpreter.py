"""Two repairs of Triton's interpreter, so that it computes what a GPU does and runs beside a new NumPy."""

import torch


def repair() -> None:
    """float32 to bfloat16 rounds to the nearest, where the interpreter would cut the digits off.

    And Triton 3.6 takes the bounds of a loop out of its tensors in a way that NumPy 2.4 no longer has.
    """
    try:
        from triton.runtime import interpreter
    except ImportError:
        return
    builder, language = interpreter.InterpreterBuilder, interpreter.tl
    convert, patch = builder.create_fp_trunc, interpreter._patch_lang_tensor

    def rounded(self, values, kind):
        if (values.dtype.scalar, kind.scalar) != (language.float32, language.bfloat16):
            return convert(self, values, kind)
        data = torch.from_numpy(values.data).bfloat16().view(torch.uint16).numpy()
        return interpreter.TensorHandle(data, kind.scalar)

    def patch_with_index(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    builder.create_fp_trunc = rounded
    interpreter._patch_lang_tensor = patch_with_index

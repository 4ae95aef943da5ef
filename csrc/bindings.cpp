// How the native libraries were built, as strings; setup.py passes every fact as a definition.

#include <pybind11/pybind11.h>

PYBIND11_MODULE(build_info, module) {
  module.doc() = "How the native libraries of hyperconv were built.";
  module.attr("version") = HYPERCONV_VERSION;
  module.attr("compiler") = HYPERCONV_COMPILER;
  module.attr("flags") = HYPERCONV_FLAGS;
  module.attr("instruction_sets") = HYPERCONV_INSTRUCTION_SETS;
  module.attr("cuda_version") = HYPERCONV_CUDA_VERSION;
  module.attr("cuda_architectures") = HYPERCONV_CUDA_ARCHITECTURES;
  module.attr("torch_target") = HYPERCONV_TORCH_TARGET;
  module.attr("torch_build") = HYPERCONV_TORCH_BUILD;
}

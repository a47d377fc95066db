{
  # Built by scripts/setup.mjs, which writes build/libtorch.json and build/addon/build_info.h first.
  'variables': {
    'libtorch%': '<!(node -p "require(\'../build/libtorch.json\').path")',
    'has_cuda%': '<!(node -p "+require(\'fs\').existsSync(require(\'../build/libtorch.json\').path + \'/lib/libtorch_cuda.so\')")',
    'cudart%': '',  # the CUDA runtime, where our kernels are in libdrm_core.a
    'napi_include': '<!(node -p "require(\'node-addon-api\').include_dir")',
  },
  'targets': [
    {
      'target_name': 'drm',
      'sources': ['<!@(node -p "require(\'fs\').readdirSync(\'src\').filter((f) => f.endsWith(\'.cc\')).map((f) => \'src/\' + f).join(\' \')")'],
      # csrc's public headers include no torch header, so neither does anything here.
      'include_dirs': ['../csrc', '../build/addon', '<(napi_include)'],
      'defines': ['NAPI_VERSION=8', 'NODE_ADDON_API_CPP_EXCEPTIONS', 'NODE_ADDON_API_ENABLE_TYPE_CHECK_ON_AS',
                  # A worker thread that is being terminated cannot receive an exception; that must not end the process.
                  'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', 'DRM_CUDA=<(has_cuda)'],
      'cflags!': ['-fno-exceptions'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++20', '-fexceptions', '-frtti', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'],
      'libraries': [
        '<(module_root_dir)/../build/core/libdrm_core.a',
        '-L<(libtorch)/lib', '-Wl,--no-as-needed', '-ltorch', '-ltorch_cpu', '-lc10', '-Wl,--as-needed',
        '-Wl,-rpath,<(libtorch)/lib',
        # Exit handlers of ours may run after the last environment that loaded us is gone.
        '-Wl,-z,nodelete',
        '-lpthread', '-ldl',
      ],
      'conditions': [
        ['has_cuda==1', {'libraries': ['-Wl,--no-as-needed', '-ltorch_cuda', '-lc10_cuda', '-Wl,--as-needed']}],
        # First, since libtorch exports functions of std::filesystem as its own compiler had them.
        ['OS=="linux"', {'ldflags': ['-Wl,--no-as-needed', '-lstdc++', '-Wl,--as-needed']}],
        ['cudart!=""', {'libraries': ['<(cudart)', '-lrt']}],
        ['OS=="mac"', {
          'xcode_settings': {
            'CLANG_CXX_LANGUAGE_STANDARD': 'c++20', 'GCC_ENABLE_CPP_EXCEPTIONS': 'YES', 'GCC_ENABLE_CPP_RTTI': 'YES',
          },
        }],
      ],
    },
  ],
}

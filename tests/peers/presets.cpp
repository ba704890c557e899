// Reads a folder of models and a file of presets as llama-server's router does, and prints each model's arguments.
#include "arg.h"
#include "preset.h"

#include <cstdio>
#include <exception>

int main(int, char ** argv) {
    try {
        common_preset_context context(LLAMA_EXAMPLE_SERVER);
        common_preset global;
        const auto models = context.load_from_models_dir(argv[1]);
        const auto presets = context.load_from_ini(argv[2], global);
        for (const auto & [name, preset] : presets) {
            if (models.find(name) == models.end()) {
                printf("unknown\t%s\n", name.c_str());
            }
        }
        for (const auto & [name, preset] : context.cascade(models, presets)) {
            common_params params;
            preset.apply_to_params(params);
            printf("model\t%s", name.c_str());
            for (const auto & arg : preset.to_args()) {
                printf("\t%s", arg.c_str());
            }
            printf("\n");
        }
    } catch (const std::exception & error) {
        printf("error\t%s\n", error.what());
        return 1;
    }
}

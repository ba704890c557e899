// The embeddings that llama.cpp's libmtmd makes of an image, without the preparation of images: pixels in, embeddings out.
//
//     embeds PROJECTOR WIDTH HEIGHT < pixels > embeddings
//     embeds --audio PROJECTOR FRAMES BINS < spectrogram > embeddings
//
// Pixels are floats as the tower sees them: of each row each pixel, of each pixel three colours. A spectrogram has a row for each bin.
// The embeddings are floats, one row for each token.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "clip.h"
#include "clip-impl.h"

int main(int argc, char ** argv) {
    const bool audio = argc > 1 && !strcmp(argv[1], "--audio");
    if (argc != (audio ? 5 : 4)) {
        return 2;
    }
    char ** given = argv + (audio ? 2 : 1);
    clip_context_params params = {};
    params.flash_attn_type = CLIP_FLASH_ATTN_TYPE_DISABLED;
    params.image_min_tokens = -1;
    params.image_max_tokens = -1;
    const clip_init_result made = clip_init(given[0], params);
    clip_ctx * tower = audio ? made.ctx_a : made.ctx_v;
    if (!tower) {
        fprintf(stderr, "%s: not loaded\n", given[0]);
        return 1;
    }
    const int width = atoi(given[1]), height = atoi(given[2]);
    std::vector<float> values((size_t) width * height * (audio ? 1 : 3));
    if (fread(values.data(), sizeof(float), values.size(), stdin) != values.size()) {
        return 2;
    }
    clip_image_f32_batch batch;
    batch.is_audio = audio;
    batch.entries.emplace_back();
    batch.entries[0].set_size({width, height}, false, audio);
    batch.entries[0].cpy_buf(values);
    std::vector<float> out((size_t) clip_n_output_tokens(tower, &batch.entries[0]) * clip_n_mmproj_embd(tower));
    if (!clip_image_batch_encode(tower, 1, &batch, out)) {
        return 1;
    }
    fwrite(out.data(), sizeof(float), out.size(), stdout);
    clip_free(tower);
    return 0;
}

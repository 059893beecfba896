// Whole searches, with the codes of every part made on the level itself.
#include "guarded.h"
#include "operations.h"

#include <memory>

using namespace labrador;

namespace {

constexpr std::size_t SIZES[] = {4, 2, 2, 1}; // bytes of an Element, in its order

// One part of a case: its arrays in guarded memory, and its codes if it has any.
class CasePart {
  public:
    Part part{};

    CasePart(const Case &c, std::size_t numbers, std::size_t arrays, std::size_t shift)
        : element_(SIZES[number(c, numbers) % 4]), data_(guarded(c, arrays, element_ * shift)),
          mask_(guarded(c, arrays + 1, shift)), labels_(guarded(c, arrays + 2, sizeof(std::int64_t) * shift)) {
        part.data = data_.as<void>();
        part.element = static_cast<Element>(number(c, numbers) % 4);
        part.m = number(c, numbers + 1);
        part.item_stride = static_cast<std::ptrdiff_t>(number(c, numbers + 2));
        part.token_stride = static_cast<std::ptrdiff_t>(number(c, numbers + 3));
        part.mask = mask_.bytes() ? mask_.as<std::uint8_t>() : nullptr;
        part.mask_stride = number(c, numbers + 4);
        part.labels = labels_.bytes() ? labels_.as<std::int64_t>() : nullptr;
        part.first = static_cast<std::int64_t>(number(c, numbers + 5));
    }

    void encode_on(const Level &level, std::size_t t, std::size_t d, std::size_t threads, std::size_t shift) {
        const std::size_t count =
            t == 1 ? (part.m + PANEL_ROWS - 1) / PANEL_ROWS : part.m * ((t + PANEL_ROWS - 1) / PANEL_ROWS);
        mean_ = std::make_unique<Guarded>(1, d * sizeof(float), shift * sizeof(float));
        panels_ = std::make_unique<Guarded>(1, count * code_depth(d) * PANEL_ROWS, shift);
        bounds_ = std::make_unique<Guarded>(1, count * sizeof(PanelBounds), shift * sizeof(float));
        mean_of(part, t, d, level, mean_->as<float>());
        encode(part, t, d, mean_->as<float>(), threads, level, panels_->as<std::uint8_t>(), bounds_->as<PanelBounds>());
        codes_ = {panels_->as<std::uint8_t>(), bounds_->as<PanelBounds>(), mean_->as<float>()};
        part.codes = &codes_;
    }

  private:
    static Guarded guarded(const Case &c, std::size_t which, std::size_t shift) {
        if (which >= c.arrays.size()) throw std::runtime_error(c.operation + " lacks array " + std::to_string(which));
        return {1, c.arrays[which].size(), shift, c.arrays[which].data()};
    }

    std::size_t element_;
    Guarded data_, mask_, labels_;
    std::unique_ptr<Guarded> mean_, panels_, bounds_;
    Codes codes_{};
};

} // namespace

bool run_topk(const Case &c, const Level &level, std::size_t shift) {
    enum { N, D, QUERY_STRIDE, T, TOP_TOKENS, K, THREADS, CODED, ABOVE, PARTS, FIRST_PART };
    constexpr std::size_t PART_NUMBERS = 6, QUERY_ARRAYS = 3, PART_ARRAYS = 3;
    const std::size_t n = number(c, N), d = number(c, D), t = number(c, T), k = number(c, K);
    const std::size_t stride = number(c, QUERY_STRIDE), count = number(c, PARTS);
    const Guarded queries(1, ((n - 1) * stride + d) * sizeof(float), shift * sizeof(float),
                          array(c, 0, ((n - 1) * stride + d) * sizeof(float)).data());

    std::vector<std::unique_ptr<CasePart>> owned;
    std::vector<Part> parts;
    for (std::size_t p = 0; p < count; ++p) {
        owned.push_back(
            std::make_unique<CasePart>(c, FIRST_PART + p * PART_NUMBERS, QUERY_ARRAYS + p * PART_ARRAYS, shift));
        if (number(c, CODED)) owned.back()->encode_on(level, t, d, number(c, THREADS), shift);
        parts.push_back(owned.back()->part);
    }
    Filter filter{};
    if (c.arrays.size() > 2 && !c.arrays[2].empty()) {
        filter.excluded = reinterpret_cast<const std::int64_t *>(c.arrays[1].data());
        filter.excluded_begin =
            reinterpret_cast<const std::int64_t *>(array(c, 2, (n + 1) * sizeof(std::int64_t)).data());
    }
    const auto above = static_cast<std::uint32_t>(number(c, ABOVE));
    std::memcpy(&filter.above, &above, sizeof above);

    const std::size_t results = QUERY_ARRAYS + count * PART_ARRAYS;
    const std::vector<std::uint8_t> &labels = array(c, results, n * k * sizeof(std::int64_t));
    const std::vector<std::uint8_t> &scores = array(c, results + 1, n * k * sizeof(float));
    const Guarded found(1, labels.size(), shift * sizeof(std::int64_t)),
        scored(1, scores.size(), shift * sizeof(float));
    topk({queries.as<float>(), n, d, static_cast<std::ptrdiff_t>(stride)},
         {parts.data(), count, t, d, number(c, TOP_TOKENS)}, filter, k, number(c, THREADS), level,
         found.as<std::int64_t>(), scored.as<float>());
    expect_floats("scores", scores, scored.as<float>());
    expect_bytes("labels", labels, found.as<std::uint8_t>());
    return true;
}

bool run_pairs(const Case &c, const Level &level, std::size_t shift) {
    const std::size_t d = number(c, 0), m = number(c, 1), t = number(c, 2);
    const std::size_t n = c.arrays.empty() ? 0 : c.arrays[0].size() / (d * sizeof(float));
    const Guarded queries(1, n * d * sizeof(float), shift * sizeof(float), array(c, 0, n * d * sizeof(float)).data());
    const Guarded gallery(1, m * t * d * sizeof(float), shift * sizeof(float),
                          array(c, 1, m * t * d * sizeof(float)).data());
    Part part{};
    part.data = gallery.as<void>();
    part.element = Element::float32;
    part.m = m;
    part.item_stride = static_cast<std::ptrdiff_t>(t * d);
    part.token_stride = static_cast<std::ptrdiff_t>(d);
    const std::size_t pairs = c.arrays.size() > 2 ? c.arrays[2].size() / sizeof(std::int64_t) : 0;
    const std::vector<std::uint8_t> &expected = array(c, 4, pairs * sizeof(float));
    const Guarded scores(1, expected.size(), shift * sizeof(float));
    score_pairs({queries.as<float>(), n, d, static_cast<std::ptrdiff_t>(d)}, {&part, 1, t, d, number(c, 3)},
                reinterpret_cast<const std::int64_t *>(array(c, 2, pairs * sizeof(std::int64_t)).data()),
                reinterpret_cast<const std::int64_t *>(array(c, 3, pairs * sizeof(std::int64_t)).data()), pairs, level,
                scores.as<float>());
    expect_floats("scores", expected, scores.as<float>());
    return true;
}

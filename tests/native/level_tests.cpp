// Runs every level that this machine has on the cases of a file, and compares bits.
//
//     level_tests CASES [LEVEL ...]
//
// Prints per level and operation how many cases passed, of how many: what lacks is told about one by one,
// or has queries of larger codes than the level takes. Ends non-zero when a result differs, when the file is
// damaged, when a level met no case of an operation that the file has, or when the levels of this machine
// aren't the ones named.
#include "operations.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

#include <unistd.h>

namespace {

const std::map<std::string, Operation> OPERATIONS = {
    {"dot", run_dot},     {"screen", run_screen}, {"widen", run_widen},   {"topk", run_topk},
    {"pairs", run_pairs}, {"mining", run_mining}, {"slopes", run_slopes},
};

struct Tally {
    std::size_t passed = 0, failed = 0;
};

char where[128]; // what runs now, for who dies of it

extern "C" void died(int signal) {
    const char *const text = signal == SIGILL ? ": an instruction that this processor lacks\n"
                                              : ": touched memory past the end of an array\n";
    const auto written = write(2, where, std::strlen(where)) + write(2, text, std::strlen(text));
    _exit(written ? 128 + signal : 1);
}

// Every second case ends one element before its guard page: a kernel must not count on alignment.
bool passes(Operation operation, const Case &c, const labrador::Level &level, std::size_t number, bool &applies) {
    std::snprintf(where, sizeof where, "case %zu, %s, level %s", number, c.operation.c_str(), level.name);
    try {
        applies = operation(c, level, number % 2);
        return true;
    } catch (const Difference &difference) {
        std::fprintf(stderr, "%s: %s\n", where, difference.what());
        return false;
    }
}

int run(const char *path, const std::vector<std::string> &demanded) {
    std::size_t count;
    const labrador::Level *const levels = labrador::levels(&count);
    std::vector<std::string> supported;
    for (std::size_t i = 0; i < count; ++i)
        if (levels[i].supported) supported.push_back(levels[i].name);

    std::map<std::string, std::map<std::string, Tally>> tallies; // by level, by operation
    std::map<std::string, std::size_t> cases;                    // by operation
    CaseFile file(path);
    for (std::size_t number = 0; !file.at_end(); ++number) {
        const Case c = file.next();
        const auto operation = OPERATIONS.find(c.operation);
        if (operation == OPERATIONS.end()) throw std::runtime_error("no operation is called " + c.operation);
        ++cases[c.operation];
        for (std::size_t i = 0; i < count; ++i) {
            if (!levels[i].supported) continue;
            bool applies = true;
            Tally &tally = tallies[levels[i].name][c.operation];
            if (!passes(operation->second, c, levels[i], number, applies))
                ++tally.failed;
            else if (applies)
                ++tally.passed;
        }
    }

    bool sound = !cases.empty();
    if (cases.empty()) std::fprintf(stderr, "%s holds no case\n", path);
    for (std::size_t i = 0; i < count; ++i) {
        std::printf("%-12s", levels[i].name);
        if (!levels[i].supported)
            std::printf(" isn't supported by this machine");
        else
            for (const auto &[operation, total] : cases) {
                const Tally tally = tallies[levels[i].name][operation];
                std::printf(" %s %zu/%zu", operation.c_str(), tally.passed, total);
                sound = sound && !tally.failed && tally.passed;
            }
        std::printf("\n");
    }
    if (!demanded.empty() && demanded != supported) {
        std::fprintf(stderr, "the levels of this machine aren't the ones demanded\n");
        sound = false;
    }
    return sound ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s CASES [LEVEL ...]\n", argv[0]);
        return 2;
    }
#ifndef __SANITIZE_ADDRESS__ // it tells more of where
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL}) std::signal(signal, died);
#endif
    try {
        return run(argv[1], {argv + 2, argv + argc});
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return EXIT_FAILURE;
    }
}

// How many tokens are verified in a second of CPU time: what a new connection costs besides its socket. No server needed:
// make -f scripts/native-tests.mk bench-tokens
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "token/verifier.hpp"

using namespace plank::token;

namespace {

double cpu_seconds()
{
	timespec time{};
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

constexpr int64_t kNow = 1'700'000'000;
constexpr size_t kTokens = 20'000;
constexpr int kRounds = 5;

// The best of a few rounds; each round verifies every token once with a verifier that knows none, or all of them.
double best_rate(const std::vector<std::string>& tokens, const char* keys, bool remembered)
{
	double best = 0;
	for (int round = 0; round < kRounds; ++round) {
		Verifier verifier;
		verifier.set_keys(KeySet::parse(keys));
		if (remembered)
			for (const std::string& token : tokens)
				if (!std::holds_alternative<TokenPtr>(verifier.verify(token, kNow))) return 0;
		const double start = cpu_seconds();
		for (const std::string& token : tokens)
			if (!std::holds_alternative<TokenPtr>(verifier.verify(token, kNow))) return 0;
		best = std::max(best, static_cast<double>(tokens.size()) / (cpu_seconds() - start));
	}
	return best;
}

}  // namespace

int main()
{
	const char* secret = "an-example-secret-of-at-least-32-bytes";
	const KeySet keys = KeySet::parse(secret);
	std::vector<std::string> tokens;
	for (size_t i = 0; i < kTokens; ++i)
		tokens.push_back(
		    mint(*keys.signing_key(), R"({"role":"web","sub":"8f14e45f-ceea-467f-a8d2-)" + std::to_string(i) +
		                                  R"(","email":"somebody@example.com","iat":1700000000,"exp":1700003600})"));
	std::printf("HS256, %zu tokens never seen before: %.0f a CPU second\n", tokens.size(),
	            best_rate(tokens, secret, false));
	tokens.resize(Verifier::kMostRemembered);
	std::printf("HS256, %zu tokens seen before: %.0f a CPU second\n", tokens.size(), best_rate(tokens, secret, true));
	return 0;
}

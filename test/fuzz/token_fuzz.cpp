// Nothing that a client sends as a token is believed unless it was signed; what was signed is judged without harm, and what
// makes clients differ is a JSON object with all members but the four that renewal changes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>

#include "token/json.hpp"
#include "token/verifier.hpp"

using namespace plank::token;

namespace {

constexpr int64_t kNow = 1'700'000'000;

KeySet make_keys() { return KeySet::parse("a-secret-that-no-fuzzer-ever-guesses-1234567890"); }

void judge(std::string_view text)
{
	const auto read = read_claims(text, {"", "role"}, kNow);
	const auto* claims = std::get_if<Claims>(&read);
	if (!claims) return;
	const JsonPtr all = parse_object(text), kept = parse_object(claims->identity);
	if (!all || !kept || is_over(claims->expires_at, kNow)) abort();
	for (const char* name : {"exp", "iat", "nbf", "jti"})
		json_object_del(all.get(), name);
	// A name written with escapes is not recognised, which can only make two clients differ that need not.
	if (text.find('\\') == std::string_view::npos && !json_equal(all.get(), kept.get())) abort();
	if (!all || json_object_size(kept.get()) < json_object_size(all.get())) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	const std::string_view text(reinterpret_cast<const char*>(data), size);
	Verifier verifier;
	verifier.set_keys(make_keys());
	if (std::holds_alternative<TokenPtr>(verifier.verify(text, kNow))) abort();
	judge(text);
	const auto checked = check_signature(mint(verifier.keys().keys().front(), text), verifier.keys());
	const auto* good = std::get_if<Signed>(&checked);
	if (size < 8000 && (!good || good->payload != text)) abort();
	return 0;
}

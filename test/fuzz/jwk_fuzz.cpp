// A key file is read or refused with words of its own, whatever it holds; keys that were read can be used.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "token/verifier.hpp"

using namespace plank::token;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	try {
		const KeySet keys = KeySet::parse({reinterpret_cast<const char*>(data), size});
		if (keys.empty() || keys.keys().size() > KeySet::kMostKeys) abort();
		for (const Key& key : keys.keys()) {
			if (key.fingerprint().size() != kDigestBytes || !keys.contains(key.fingerprint())) abort();
			if (key.verifies("text", std::string(key.algorithm().digest_bytes, 'x'))) abort();
		}
	} catch (const BadKeys& bad) {
		if (*bad.what() == '\0') abort();
	}
	return 0;
}

// plank.sign: makes tokens with the secret in plank.jwt_key_file. Runs in ordinary sessions. Must not show or log the
// secret; the file is read with the server's rights, so the function is for superusers and those they grant it to.
#include "token/verifier.hpp"

#include <openssl/crypto.h>

#include "pg/guard.hpp"
#include "pg/session.hpp"
#include "pg/settings.hpp"
#include "pg/small_file.hpp"

extern "C" {
PGDLLEXPORT Datum plank_sign(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_sign);
}

namespace plank::backend {

namespace {

constexpr int64 kMicroseconds = 1000000;
constexpr int64 kPostgresEpoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * static_cast<int64>(SECS_PER_DAY);
constexpr const char* kKeyHint =
    "Put a secret of at least 32 bytes, or a JWK or JWKS with one, into the file that "
    "plank.jwt_key_file names.";

int64 unix_time(TimestampTz time) { return time / kMicroseconds + kPostgresEpoch; }

std::string in_utf8(Jsonb* jsonb)
{
	return pg::call([&] {
		char* text = JsonbToCString(nullptr, &jsonb->root, VARSIZE(jsonb));
		return pg_server_to_any(text, static_cast<int>(strlen(text)), PG_UTF8);
	});
}

token::KeySet read_keys()
{
	const std::string path = pg::Settings::jwt_key_file;
	if (path.empty())
		pg::raise(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "plank.jwt_key_file is not set", nullptr, kKeyHint);
	pg::SmallFile file = pg::read_small_file(path, token::KeySet::kMostBytes);
	std::string trouble = file.error;
	token::KeySet keys;
	try {
		if (trouble.empty()) keys = token::KeySet::parse(file.content);
	} catch (const token::BadKeys& bad) {
		trouble = bad.what();
	}
	OPENSSL_cleanse(file.content.data(), file.content.size());
	if (!trouble.empty())
		pg::raise(ERRCODE_CONFIG_FILE_ERROR, ("key file \"" + path + "\" cannot be used: " + trouble).c_str(), nullptr,
		          kKeyHint);
	return keys;
}

text* sign(Jsonb* claims, Interval* ttl)
{
	const TimestampTz now = pg::call([] { return GetCurrentTimestamp(); });
	const TimestampTz end = pg::call([&] {
		return DatumGetTimestampTz(
		    DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), IntervalPGetDatum(ttl)));
	});
	if (TIMESTAMP_NOT_FINITE(end) || unix_time(end) <= unix_time(now) || unix_time(end) > token::kLatestTime)
		pg::raise(ERRCODE_INVALID_PARAMETER_VALUE, "ttl must be at least a second and end before the year 10000");
	const auto timed = token::with_times(in_utf8(claims), unix_time(now), unix_time(end));
	if (const auto* refused = std::get_if<token::Refused>(&timed))
		pg::raise(ERRCODE_INVALID_PARAMETER_VALUE, refused->reason);
	const token::KeySet keys = read_keys();
	const token::Key* key = keys.signing_key();
	if (!key)
		pg::raise(
		    ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "plank.jwt_key_file holds public keys only", nullptr,
		    "Tokens for a public key are made by whoever has the private one. For plank.sign, add a secret to the "
		    "file as a JWK with \"kty\": \"oct\".");
	const std::string token = token::mint(*key, std::get<std::string>(timed));
	return pg::call([&] { return cstring_to_text_with_len(token.data(), static_cast<int>(token.size())); });
}

}  // namespace

}  // namespace plank::backend

using namespace plank;

extern "C" Datum plank_sign(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		Jsonb* const claims = pg::call([&] { return PG_GETARG_JSONB_P(0); });
		return PointerGetDatum(backend::sign(claims, PG_GETARG_INTERVAL_P(1)));
	});
}

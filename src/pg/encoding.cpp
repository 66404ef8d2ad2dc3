// Text between the database's encoding and UTF-8. Runs in sessions and in the worker.
#include "pg/encoding.hpp"

#include <algorithm>
#include <cstring>

#include "pg/guard.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_conversion.h"
#include "catalog/pg_namespace_d.h"
#include "mb/pg_wchar.h"
}

namespace plank::pg {

namespace {

bool is_beyond_ascii(char c) { return static_cast<unsigned char>(c) >= 0x80; }

char* with_question_marks(const char* text)
{
	char* const plain = pstrdup(text);
	std::replace_if(plain, plain + strlen(plain), is_beyond_ascii, '?');
	return plain;
}

}  // namespace

char* utf8_of(const char* text)
{
	const size_t length = strlen(text);
	const int encoding = GetDatabaseEncoding();
	if (encoding == PG_UTF8 || std::none_of(text, text + length, is_beyond_ascii)) return const_cast<char*>(text);
	if (encoding == PG_SQL_ASCII) {
		const bool valid = pg_verify_mbstr(PG_UTF8, text, static_cast<int>(length), true);
		return valid ? const_cast<char*>(text) : with_question_marks(text);
	}
	if (!IsTransactionState()) return with_question_marks(text);
	const Oid conversion = FindDefaultConversion(PG_CATALOG_NAMESPACE, encoding, PG_UTF8);
	if (!OidIsValid(conversion)) return with_question_marks(text);
	const Size room = (length + 2) * MAX_CONVERSION_GROWTH;
	auto* const utf8 = static_cast<unsigned char*>(palloc(room));
	const int used = pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
	                                               reinterpret_cast<unsigned char*>(const_cast<char*>(text)),
	                                               static_cast<int>(length), utf8, static_cast<int>(room), true);
	return static_cast<size_t>(used) == length ? reinterpret_cast<char*>(utf8) : with_question_marks(text);
}

std::string to_utf8(const char* text)
{
	return call([&] { return utf8_of(text); });
}

std::string from_utf8(const std::string& text)
{
	return call([&] { return pg_any_to_server(text.c_str(), static_cast<int>(text.size()), PG_UTF8); });
}

}  // namespace plank::pg

// Text of any database encoding as valid UTF-8. Runs in ordinary sessions, inside pg::call.
#include "backend/json_encoding.hpp"

#include <algorithm>
#include <cstring>

#include "pg/values.hpp"

namespace plank::backend {
namespace {

using Emit = void (*)(StringInfo out, const char* utf8, size_t length);

// Source bytes that are converted at once, on the stack.
constexpr size_t kPiece = 2048;

// SQL_ASCII promises nothing about its bytes; what clients store there nowadays is UTF-8.
bool is_stored_as_utf8()
{
	const int encoding = GetDatabaseEncoding();
	return encoding == PG_UTF8 || encoding == PG_SQL_ASCII;
}

// The conversion of this database's encoding to UTF-8: always pg_catalog's, because a default conversion in a schema
// of the writer's search_path would be taken otherwise. Null where PostgreSQL has none (MULE_INTERNAL).
FmgrInfo* conversion_to_utf8()
{
	static FmgrInfo function;
	static bool is_resolved = false;
	if (!is_resolved) {
		const Oid oid = FindDefaultConversion(PG_CATALOG_NAMESPACE, GetDatabaseEncoding(), PG_UTF8);
		if (OidIsValid(oid)) fmgr_info_cxt(oid, &function, TopMemoryContext);
		is_resolved = true;
	}
	return OidIsValid(function.fn_oid) ? &function : nullptr;
}

// Length of the longest valid UTF-8 without NUL at the start of `text`.
size_t valid_utf8_length(const char* text, size_t length)
{
	return pg_encoding_verifymbstr(PG_UTF8, text, static_cast<int>(length));
}

// Length of the character that cannot be converted at the start of `text`; a byte where it is no character.
size_t bad_character_length(const char* text, size_t length)
{
	const int valid = pg_encoding_verifymbchar(GetDatabaseEncoding(), text, static_cast<int>(length));
	return valid > 0 ? valid : 1;
}

void append_valid_parts(StringInfo out, const char* text, size_t length, Emit emit)
{
	const char* const end = text + length;
	while (text < end) {
		const size_t valid = valid_utf8_length(text, end - text);
		if (valid > 0) emit(out, text, valid);
		text += valid;
		if (text < end) {
			emit(out, kReplacement, kReplacementLength);
			text++;
		}
	}
}

void append_converted(StringInfo out, const char* text, size_t length, Emit emit)
{
	FmgrInfo* const conversion = conversion_to_utf8();
	char utf8[kPiece * MAX_CONVERSION_GROWTH + 1];
	const char* const end = text + length;
	while (text < end) {
		const auto piece = static_cast<int>(std::min<size_t>(end - text, kPiece));
		int used = 0;
		if (conversion) {
			// The last argument asks it to stop at what it cannot convert, a character cut by the piece's end included:
			// that one comes first in the next piece.
			used = DatumGetInt32(FunctionCall6(conversion, Int32GetDatum(GetDatabaseEncoding()), Int32GetDatum(PG_UTF8),
			                                   CStringGetDatum(text), CStringGetDatum(utf8), Int32GetDatum(piece),
			                                   BoolGetDatum(true)));
			append_valid_parts(out, utf8, strlen(utf8), emit);
		} else {
			while (used<piece&& static_cast<signed char>(text[used])> 0)
				used++;
			if (used > 0) emit(out, text, used);
		}
		text += used;
		if (used == 0) {
			emit(out, kReplacement, kReplacementLength);
			text += bad_character_length(text, end - text);
		}
	}
}

}  // namespace

bool is_clean_utf8(const char* text, size_t length)
{
	if (is_stored_as_utf8()) return valid_utf8_length(text, length) == length;
	return std::none_of(text, text + length, [](char c) { return static_cast<signed char>(c) <= 0; });
}

void append_as_utf8(StringInfo out, const char* text, size_t length, Emit emit)
{
	if (is_stored_as_utf8())
		append_valid_parts(out, text, length, emit);
	else
		append_converted(out, text, length, emit);
}

}  // namespace plank::backend

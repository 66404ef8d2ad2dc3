// Text as JSON strings, and json and jsonb as they are. The hot path copies ASCII sixteen bytes at a time; the first
// other byte leads to json_encoding.cpp. Runs in ordinary sessions, inside pg::call.
#include <algorithm>
#include <bit>
#include <cstdint>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "pg/values.hpp"

#include "backend/json_encoding.hpp"
#include "backend/json_value.hpp"

namespace plank::backend {
namespace {

// Source bytes for which the worst case (six bytes each) is reserved at once.
constexpr ptrdiff_t kPiece = 1024;
constexpr size_t kLongestEscape = 6;

// What a byte needs inside a JSON string: nothing (0), a short escape (its letter), \u00xx ('u'), or U+FFFD ('?').
struct Escapes {
	char of[256];
	constexpr Escapes() : of{}
	{
		for (int c = 1; c < 0x20; c++)
			of[c] = 'u';
		of[0] = '?';
		of['\b'] = 'b';
		of['\f'] = 'f';
		of['\n'] = 'n';
		of['\r'] = 'r';
		of['\t'] = 't';
		of['"'] = '"';
		of['\\'] = '\\';
	}
};
constexpr Escapes kEscapes;

enum class HighBytes : uint8_t { copy, stop };

#ifdef __SSE2__
// Copies sixteen bytes and returns how many of them, from the first, may stand as they are.
template <HighBytes high_bytes>
inline int copy_sixteen(char* to, const char* from)
{
	const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
	_mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
	const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
	const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
	const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
	auto special = static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))));
	if (high_bytes == HighBytes::stop) special |= static_cast<uint32_t>(_mm_movemask_epi8(bytes));
	return special == 0 ? 16 : std::countr_zero(special);
}
#endif

// The same for eight bytes in a general register.
template <HighBytes high_bytes>
inline int copy_eight(char* to, const char* from)
{
	uint64_t bytes;
	memcpy(&bytes, from, sizeof bytes);
	memcpy(to, &bytes, sizeof bytes);
	if constexpr (std::endian::native == std::endian::big) bytes = __builtin_bswap64(bytes);

	constexpr uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;
	const uint64_t quote = bytes ^ (kOnes * '"');
	const uint64_t backslash = bytes ^ (kOnes * '\\');
	// A borrow may mark bytes after the first special one, never before it.
	uint64_t special =
	    (((bytes - kOnes * 0x20) & ~bytes) | ((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash)) & kHighs;
	if (high_bytes == HighBytes::stop) special |= bytes & kHighs;
	return special == 0 ? 8 : std::countr_zero(special) / 8;
}

char* put_escape(char* to, unsigned char byte)
{
	constexpr char kHex[] = "0123456789abcdef";
	const char escape = kEscapes.of[byte];
	if (escape == '?') return put(to, kReplacement, kReplacementLength);
	*to++ = '\\';
	*to++ = escape;
	if (escape == 'u') {
		to = put(to, "00", 2);
		*to++ = kHex[byte >> 4];
		*to++ = kHex[byte & 15];
	}
	return to;
}

// Appends [from, end) escaped. With HighBytes::stop it ends at the first byte that is not ASCII; returns where it ended.
template <HighBytes high_bytes>
const char* append_escaped(StringInfo out, const char* from, const char* end)
{
	while (from < end) {
		const char* const piece_end = from + std::min(end - from, kPiece);
		char* to = reserve(out, kLongestEscape * (piece_end - from));
		while (from < piece_end) {
#ifdef __SSE2__
			if (piece_end - from >= 16) {
				const int copied = copy_sixteen<high_bytes>(to, from);
				from += copied;
				to += copied;
				if (copied == 16) continue;
			} else
#endif
			    if (piece_end - from >= 8) {
				const int copied = copy_eight<high_bytes>(to, from);
				from += copied;
				to += copied;
				if (copied == 8) continue;
			}
			const auto byte = static_cast<unsigned char>(*from);
			if (high_bytes == HighBytes::stop && byte >= 0x80) {
				commit(out, to);
				return from;
			}
			if (kEscapes.of[byte] == 0)
				*to++ = static_cast<char>(byte);
			else
				to = put_escape(to, byte);
			from++;
		}
		commit(out, to);
	}
	return end;
}

void append_escaped_utf8(StringInfo out, const char* text, size_t length)
{
	append_escaped<HighBytes::copy>(out, text, text + length);
}

// Appends `text`, which is JSON already.
void append_verbatim(StringInfo out, const char* text, size_t length)
{
	if (is_clean_utf8(text, length))
		append_raw(out, text, length);
	else
		append_as_utf8(out, text, length, append_raw);
}

}  // namespace

void append_json_string(StringInfo out, const char* text, int length)
{
	*reserve(out, 1) = '"';
	out->len++;
	const char* const end = text + length;
	const char* const rest = append_escaped<HighBytes::stop>(out, text, end);
	if (rest < end) append_as_utf8(out, rest, end - rest, append_escaped_utf8);
	char* const to = reserve(out, 1);
	*to = '"';
	commit(out, to + 1);
}

void print_text(StringInfo out, const ValueOutput*, Datum value)
{
	text* const string = DatumGetTextPP(value);
	append_json_string(out, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

void print_name(StringInfo out, const ValueOutput*, Datum value)
{
	const char* const name = NameStr(*DatumGetName(value));
	append_json_string(out, name, static_cast<int>(strnlen(name, NAMEDATALEN)));
}

void print_json(StringInfo out, const ValueOutput*, Datum value)
{
	text* const json = DatumGetTextPP(value);
	append_verbatim(out, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

void print_jsonb(StringInfo out, const ValueOutput*, Datum value)
{
	Jsonb* const jsonb = DatumGetJsonbP(value);
	const int start = out->len;
	JsonbToCString(out, &jsonb->root, VARSIZE(jsonb));

	// Its strings are in the database's encoding, and what a jsonb holds was not always checked: before PostgreSQL 16,
	// to_jsonb('\377'::"char") stores the bare byte.
	const int length = out->len - start;
	if (likely(is_clean_utf8(out->data + start, length))) return;
	const char* const copy = pnstrdup(out->data + start, length);
	out->len = start;
	append_verbatim(out, copy, length);
}

}  // namespace plank::backend

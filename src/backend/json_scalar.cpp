// Numbers, booleans, money, uuid and bytea as JSON: written straight into the output, without scratch memory but for
// numeric's. Runs in ordinary sessions, inside pg::call.
#include <cmath>
#include <cstdint>

#include "pg/values.hpp"

#include "backend/json_value.hpp"

namespace plank::backend {
namespace {

constexpr size_t kInt64Digits = 20;

// Longest plain notation of a double: sign, "0.", 323 zeros and 17 digits.
constexpr size_t kFloatLength = 352;

// to_jsonb prints a float as the numeric that its shortest text denotes: no exponent, no negative zero.
char* put_plain_number(char* to, const char* text, int length)
{
	const char* const end = text + length;
	const auto* const exponent_at = static_cast<const char*>(memchr(text, 'e', length));
	if (!exponent_at) {
		if (length == 2 && text[0] == '-' && text[1] == '0') {
			*to = '0';
			return to + 1;
		}
		return put(to, text, length);
	}

	int exponent = 0;
	for (const char* p = exponent_at + 2; p < end; p++)
		exponent = exponent * 10 + (*p - '0');
	if (exponent_at[1] == '-') exponent = -exponent;

	if (*text == '-') *to++ = *text++;
	char digits[24];
	int count = 0;
	for (const char* p = text; p < exponent_at; p++) {
		if (*p != '.') digits[count++] = *p;
	}

	// One digit stands before the point, so the value is 0.digits * 10^point.
	const int point = exponent + 1;
	if (point <= 0) {
		to = put(to, "0.", 2);
		memset(to, '0', -point);
		return put(to - point, digits, count);
	}
	if (count <= point) {
		to = put(to, digits, count);
		memset(to, '0', point - count);
		return to + (point - count);
	}
	to = put(to, digits, point);
	*to++ = '.';
	return put(to, digits + point, count - point);
}

template <typename Float>
void append_float(StringInfo out, Float value)
{
	if (unlikely(!std::isfinite(value))) {
		if (std::isnan(value))
			append_raw(out, "\"NaN\"", 5);
		else if (value > 0)
			append_raw(out, "\"Infinity\"", 10);
		else
			append_raw(out, "\"-Infinity\"", 11);
		return;
	}

	static_assert(FLOAT_SHORTEST_DECIMAL_LEN <= DOUBLE_SHORTEST_DECIMAL_LEN);
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];
	int length;
	if constexpr (sizeof(Float) == sizeof(double))
		length = double_to_shortest_decimal_buf(value, text);
	else
		length = float_to_shortest_decimal_buf(value, text);
	commit(out, put_plain_number(reserve(out, kFloatLength), text, length));
}

template <bool marked>
void append_int8(StringInfo out, Datum value)
{
	char* to = reserve(out, kInt64Digits + 3);
	if (marked) *to++ = kNumberMark;
	to += pg_lltoa(DatumGetInt64(value), to);
	if (marked) *to++ = kNumberMark;
	commit(out, to);
}

template <bool marked>
void append_numeric(StringInfo out, Datum value)
{
	const char* const text = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	const size_t length = strlen(text);
	// NaN, Infinity and -Infinity are strings.
	const char lead = text[0] == '-' ? text[1] : text[0];
	const bool is_number = lead >= '0' && lead <= '9';

	char* to = reserve(out, length + 2);
	if (!is_number)
		*to++ = '"';
	else if (marked)
		*to++ = kNumberMark;
	to = put(to, text, length);
	if (!is_number)
		*to++ = '"';
	else if (marked)
		*to++ = kNumberMark;
	commit(out, to);
}

}  // namespace

void print_boolean(StringInfo out, const ValueOutput*, Datum value)
{
	if (DatumGetBool(value))
		append_raw(out, "true", 4);
	else
		append_raw(out, "false", 5);
}

void print_int2(StringInfo out, const ValueOutput*, Datum value)
{
	char* const to = reserve(out, kInt64Digits);
	commit(out, to + pg_ltoa(DatumGetInt16(value), to));
}

void print_int4(StringInfo out, const ValueOutput*, Datum value)
{
	char* const to = reserve(out, kInt64Digits);
	commit(out, to + pg_ltoa(DatumGetInt32(value), to));
}

void print_int8(StringInfo out, const ValueOutput*, Datum value) { append_int8<false>(out, value); }

void print_marked_int8(StringInfo out, const ValueOutput*, Datum value) { append_int8<true>(out, value); }

void print_float4(StringInfo out, const ValueOutput*, Datum value) { append_float(out, DatumGetFloat4(value)); }

void print_float8(StringInfo out, const ValueOutput*, Datum value) { append_float(out, DatumGetFloat8(value)); }

void print_numeric(StringInfo out, const ValueOutput*, Datum value) { append_numeric<false>(out, value); }

void print_marked_numeric(StringInfo out, const ValueOutput*, Datum value) { append_numeric<true>(out, value); }

// cash_out asks the C library for the writer's lc_monetary; this is its notation for the C locale: "-$1,234.56".
void print_money(StringInfo out, const ValueOutput*, Datum value)
{
	const Cash cash = DatumGetCash(value);
	const uint64 magnitude = cash < 0 ? uint64{0} - static_cast<uint64>(cash) : static_cast<uint64>(cash);

	char digits[kInt64Digits];
	const int count = pg_ulltoa_n(magnitude / 100, digits);

	char* to = reserve(out, kInt64Digits * 2);
	*to++ = '"';
	if (cash < 0) *to++ = '-';
	*to++ = '$';
	for (int i = 0; i < count; i++) {
		if (i > 0 && (count - i) % 3 == 0) *to++ = ',';
		*to++ = digits[i];
	}
	*to++ = '.';
	to = put_two_digits(to, magnitude % 100);
	*to++ = '"';
	commit(out, to);
}

void print_oid(StringInfo out, const ValueOutput*, Datum value)
{
	char* to = reserve(out, kInt64Digits);
	*to++ = '"';
	to += pg_ultoa_n(DatumGetObjectId(value), to);
	*to++ = '"';
	commit(out, to);
}

void print_uuid(StringInfo out, const ValueOutput*, Datum value)
{
	char digits[2 * UUID_LEN];
	hex_encode(reinterpret_cast<const char*>(DatumGetUUIDP(value)->data), UUID_LEN, digits);

	char* to = reserve(out, 2 * UUID_LEN + 6);
	*to++ = '"';
	to = put(to, digits, 8);
	*to++ = '-';
	to = put(to, digits + 8, 4);
	*to++ = '-';
	to = put(to, digits + 12, 4);
	*to++ = '-';
	to = put(to, digits + 16, 4);
	*to++ = '-';
	to = put(to, digits + 20, 12);
	*to++ = '"';
	commit(out, to);
}

void print_bytea(StringInfo out, const ValueOutput*, Datum value)
{
	bytea* const bytes = DatumGetByteaPP(value);
	const size_t length = VARSIZE_ANY_EXHDR(bytes);

	char* to = reserve(out, 2 * length + 5);
	to = put(to, "\"\\\\x", 4);
	to += hex_encode(VARDATA_ANY(bytes), length, to);
	*to++ = '"';
	commit(out, to);
}

}  // namespace plank::backend

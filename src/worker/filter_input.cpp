// Reads typed values from JSON and from the text beside it. Runs in the worker, in a FilterUnit, inside pg::call.
#include "worker/filter_input.hpp"

#include <charconv>
#include <cstring>
#include <string_view>

#include "worker/filter_safety.hpp"

namespace plank::worker {

namespace {

[[noreturn]] void refuse(Oid type)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
	                errmsg("a value of type %s could not be read", format_type_be(type))));
	pg_unreachable();
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

// The four digits of \uXXXX at `at`.
pg_wchar read_hex(const char* at, const char* end)
{
	if (end - at < 4) return 0;
	pg_wchar code = 0;
	for (int i = 0; i < 4; ++i) {
		const int digit = hex_digit(at[i]);
		if (digit < 0) return 0;
		code = code << 4 | static_cast<pg_wchar>(digit);
	}
	return code;
}

struct Text {
	char* bytes;  // ends with a NUL
	int length;
};

Text in_database_encoding(char* utf8, int length)
{
	if (GetDatabaseEncoding() == PG_UTF8) return {utf8, length};
	char* const converted = pg_any_to_server(utf8, length, PG_UTF8);
	return {converted, static_cast<int>(strlen(converted))};
}

// What a JSON string says; other JSON stands for itself.
Text text_of(std::string_view json)
{
	auto* const out = static_cast<char*>(palloc(json.size() + 1));
	if (json.front() != '"') {
		memcpy(out, json.data(), json.size());
		out[json.size()] = '\0';
		return {out, static_cast<int>(json.size())};
	}
	const char* from = json.data() + 1;
	const char* const end = json.data() + json.size() - 1;
	char* to = out;
	while (from < end) {
		const auto* const escape = static_cast<const char*>(memchr(from, '\\', static_cast<size_t>(end - from)));
		const char* const stop = escape ? escape : end;
		memcpy(to, from, static_cast<size_t>(stop - from));
		to += stop - from;
		if (!escape || escape + 1 >= end) break;
		from = escape + 2;
		switch (escape[1]) {
			case 'b':
				*to++ = '\b';
				break;
			case 'f':
				*to++ = '\f';
				break;
			case 'n':
				*to++ = '\n';
				break;
			case 'r':
				*to++ = '\r';
				break;
			case 't':
				*to++ = '\t';
				break;
			case 'u': {
				// Six bytes of JSON for at most three of UTF-8, twelve for four.
				pg_wchar code = read_hex(from, end);
				from += 4;
				if (is_utf16_surrogate_first(code) && end - from >= 6 && from[0] == '\\' && from[1] == 'u') {
					code = surrogate_pair_to_codepoint(code, read_hex(from + 2, end));
					from += 6;
				}
				unicode_to_utf8(code, reinterpret_cast<unsigned char*>(to));
				to += pg_utf_mblen(reinterpret_cast<unsigned char*>(to));
				break;
			}
			default:
				*to++ = escape[1];
		}
	}
	*to = '\0';
	return in_database_encoding(out, static_cast<int>(to - out));
}

template <typename Number>
Number read_number(std::string_view json, Oid type)
{
	Number number = 0;
	const auto [end, fault] = std::from_chars(json.data(), json.data() + json.size(), number);
	if (fault != std::errc() || end != json.data() + json.size()) refuse(type);
	return number;
}

// "-$1,234.56", as capture prints it whatever lc_monetary is.
Datum read_money(std::string_view json)
{
	uint64 magnitude = 0;
	for (const char c : json)
		if (c >= '0' && c <= '9') magnitude = magnitude * 10 + static_cast<uint64>(c - '0');
	const bool negative = json.size() > 1 && json[1] == '-';
	return CashGetDatum(static_cast<Cash>(negative ? uint64{0} - magnitude : magnitude));
}

Datum call_input(ColumnInput* input, char* text)
{
	return InputFunctionCall(&input->function, text, input->parameter, -1);
}

// The text that stands beside the JSON, without its mark.
Datum read_text(ColumnInput* input, std::string_view text)
{
	text.remove_prefix(1);
	const int length = static_cast<int>(text.size());
	switch (input->type) {
		case CHAROID:
			return CharGetDatum(text.empty() ? '\0' : text.front());
		case XMLOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case JSONOID:
			return PointerGetDatum(cstring_to_text_with_len(text.data(), length));
		default:
			break;
	}
	if (pg::prints_as_name(input->type)) return ObjectIdGetDatum(read_number<Oid>(text, input->type));
	return call_input(input, pnstrdup(text.data(), static_cast<Size>(length)));
}

}  // namespace

void resolve_input(ColumnInput* input, Oid declared, MemoryContext memory)
{
	input->type = getBaseType(declared);
	input->declared = declared;
	input->checked_at = UINT64_MAX;
	input->need = pg::text_need(declared);
	Oid function = InvalidOid;
	getTypeInputInfo(input->type, &function, &input->parameter);
	fmgr_info_cxt(function, &input->function, memory);
}

Datum read_value(ColumnInput* input, const core::ColumnImage& image)
{
	// Only what is read from text can have a domain inside, whose checks would run.
	if (input->need == pg::TextNeed::always && input->checked_at != constraint_changes()) {
		const uint64_t now = constraint_changes();
		if (!is_safe_to_read(input->declared)) refuse(input->type);
		input->checked_at = now;
	}
	if (!image.text.empty()) return read_text(input, image.text);
	if (input->need == pg::TextNeed::always) refuse(input->type);
	const std::string_view json = image.json;
	switch (input->type) {
		case BOOLOID:
			return BoolGetDatum(json == "true");
		case INT2OID:
			return Int16GetDatum(read_number<int16>(json, INT2OID));
		case INT4OID:
			return Int32GetDatum(read_number<int32>(json, INT4OID));
		case INT8OID:
			return Int64GetDatum(read_number<int64>(json, INT8OID));
		case CASHOID:
			return read_money(json);
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID: {
			const Text text = text_of(json);
			return PointerGetDatum(cstring_to_text_with_len(text.bytes, text.length));
		}
		case JSONOID: {
			const Text text = in_database_encoding(pnstrdup(json.data(), json.size()), static_cast<int>(json.size()));
			return PointerGetDatum(cstring_to_text_with_len(text.bytes, text.length));
		}
		case JSONBOID:
			return call_input(
			    input, in_database_encoding(pnstrdup(json.data(), json.size()), static_cast<int>(json.size())).bytes);
		default:
			return call_input(input, text_of(json).bytes);
	}
}

}  // namespace plank::worker

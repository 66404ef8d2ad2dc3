// Reading clients' messages with jansson. Runs in the worker, inside network callbacks. Must not call PostgreSQL.
#include "core/request.hpp"

#include <algorithm>
#include <memory>

#include <jansson.h>

#include "core/json.hpp"

namespace plank::core {

namespace {

struct JsonFree {
	void operator()(json_t* value) const noexcept { json_decref(value); }
};
using JsonPtr = std::unique_ptr<json_t, JsonFree>;

constexpr size_t kLongestId = 64;  // characters
// Bytes of a table's or channel's name. PostgreSQL's names are shorter; requests wait in memory, many for each client.
constexpr size_t kLongestName = 1024;
constexpr size_t kLongestPosition = 16 * 1024;  // with what a snapshot has seen
constexpr size_t kMostColumns = 1600;           // of a table in PostgreSQL
// As long as one that comes with the connection can be.
constexpr size_t kLongestToken = 16 * 1024;

size_t characters(std::string_view text) noexcept
{
	size_t count = 0;
	for (const char c : text)
		count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
	return count;
}

// Thrown and caught within this file only.
struct Refused {
	const char* code;
	std::string message;
	std::string hint = {};
};

// The member's value; null when it is absent or JSON null.
const json_t* member(const json_t* object, const char* name)
{
	const json_t* value = json_object_get(object, name);
	return json_is_null(value) ? nullptr : value;
}

std::string_view string_of(const json_t* value) { return {json_string_value(value), json_string_length(value)}; }

std::string required_string(const json_t* value, const char* name)
{
	if (!json_is_string(value))
		throw Refused{code::kInvalidParameter, std::string("\"") + name + "\" must be a string"};
	if (json_string_length(value) == 0)
		throw Refused{code::kInvalidParameter, std::string("\"") + name + "\" must not be empty"};
	return std::string(string_of(value));
}

std::string required_name(const json_t* value, const char* name)
{
	std::string text = required_string(value, name);
	if (text.size() > kLongestName) throw Refused{code::kInvalidParameter, std::string("\"") + name + "\" is too long"};
	return text;
}

std::string required_position(const json_t* value)
{
	std::string text = required_string(value, "since");
	if (text.size() > kLongestPosition) throw Refused{code::kInvalidParameter, "\"since\" is not a position"};
	return text;
}

OpSet read_events(const json_t* value)
{
	if (!json_is_array(value) || json_array_size(value) == 0)
		throw Refused{code::kInvalidParameter, "\"events\" must be a list of events",
		              "Events are \"insert\", \"update\", \"delete\" and \"truncate\"."};
	OpSet events = 0;
	for (size_t i = 0; i < json_array_size(value); ++i) {
		const json_t* name = json_array_get(value, i);
		const std::optional<Op> op = json_is_string(name) ? op_named(string_of(name)) : std::nullopt;
		if (!op)
			throw Refused{code::kInvalidParameter, "\"events\" holds something that is no event",
			              "Events are \"insert\", \"update\", \"delete\" and \"truncate\"."};
		events |= op_bit(*op);
	}
	return events;
}

bool read_numbers_as_text(const json_t* value)
{
	const std::string_view name = json_is_string(value) ? string_of(value) : std::string_view();
	if (name != "json" && name != "text")
		throw Refused{code::kInvalidParameter, "\"numbers\" must be \"json\" or \"text\""};
	return name == "text";
}

void read_columns(const json_t* value, Request& request)
{
	if (!json_is_array(value) || json_array_size(value) > kMostColumns)
		throw Refused{code::kInvalidParameter, "\"columns\" must be a list of names"};
	request.some_columns = true;
	for (size_t i = 0; i < json_array_size(value); ++i)
		request.columns.push_back(required_name(json_array_get(value, i), "columns"));
	std::sort(request.columns.begin(), request.columns.end());
	request.columns.erase(std::unique(request.columns.begin(), request.columns.end()), request.columns.end());
}

void read_subscribe(const json_t* object, Request& request)
{
	const json_t* table = member(object, "table");
	const json_t* channel = member(object, "channel");
	if ((table == nullptr) == (channel == nullptr))
		throw Refused{code::kInvalidParameter, "a subscription names either a \"table\" or a \"channel\""};
	if (table) request.table = required_name(table, "table");
	if (channel) request.channel = required_name(channel, "channel");
	if (const json_t* events = member(object, "events")) request.events = read_events(events);
	if (const json_t* numbers = member(object, "numbers")) request.numbers_as_text = read_numbers_as_text(numbers);
	const json_t* where = member(object, "where");
	const json_t* columns = member(object, "columns");
	const json_t* snapshot = member(object, "snapshot");
	if (channel && (where || columns || (snapshot && !json_is_false(snapshot))))
		throw Refused{code::kInvalidParameter, "\"where\", \"columns\" and \"snapshot\" are for tables"};
	if (where) request.where = required_string(where, "where");
	if (columns) read_columns(columns, request);
	if (snapshot) {
		if (!json_is_boolean(snapshot)) throw Refused{code::kInvalidParameter, "\"snapshot\" must be true or false"};
		request.snapshot = json_is_true(snapshot);
	}
	if (const json_t* since = member(object, "since")) request.since = required_position(since);
}

RequestType read_type(const json_t* object)
{
	const json_t* value = json_object_get(object, "type");
	if (!json_is_string(value)) throw Refused{code::kProtocolViolation, "\"type\" must be a string"};
	const std::string_view type = string_of(value);
	if (type == "subscribe") return RequestType::subscribe;
	if (type == "unsubscribe") return RequestType::unsubscribe;
	if (type == "auth") return RequestType::auth;
	if (type == "tables") return RequestType::tables;
	if (type == "ping") return RequestType::ping;
	throw Refused{code::kProtocolViolation, "unknown message type",
	              "Types are \"subscribe\", \"unsubscribe\", \"auth\", \"tables\" and \"ping\"."};
}

void read_request(const json_t* object, Request& request)
{
	if (!json_is_object(object)) throw Refused{code::kProtocolViolation, "a message must be a JSON object"};
	const json_t* id = member(object, "id");
	if (id) {
		if (!json_is_string(id) || json_string_length(id) == 0 || characters(string_of(id)) > kLongestId)
			throw Refused{code::kInvalidParameter, "\"id\" must be a string of 1 to 64 characters"};
		request.id = string_of(id);
	}
	request.type = read_type(object);
	switch (request.type) {
		case RequestType::subscribe:
		case RequestType::unsubscribe:
			if (!id) throw Refused{code::kInvalidParameter, "\"id\" is missing"};
			if (request.type == RequestType::subscribe) read_subscribe(object, request);
			break;
		case RequestType::auth:
			request.token = required_string(json_object_get(object, "token"), "token");
			if (request.token.size() > kLongestToken) throw Refused{code::kInvalidParameter, "\"token\" is too long"};
			break;
		case RequestType::tables:
		case RequestType::ping:
			break;
	}
}

}  // namespace

size_t Request::size() const noexcept
{
	size_t bytes = sizeof *this + id.size() + table.size() + channel.size() + where.size() + since.size();
	for (const std::string& column : columns)
		bytes += sizeof column + column.size();
	return bytes;
}

std::variant<Request, Fault> parse_request(std::string_view text)
{
	json_error_t error;
	const JsonPtr object(json_loadb(text.data(), text.size(), JSON_DECODE_ANY, &error));
	Request request;
	if (!object) {
		// jansson quotes the message, and cuts its own text at a byte.
		const std::string_view detail = error.text;
		return Fault{"", code::kProtocolViolation, "a message must be JSON", std::string(is_utf8(detail) ? detail : ""),
		             ""};
	}
	try {
		read_request(object.get(), request);
		return request;
	} catch (Refused& refused) {
		return Fault{request.id, refused.code, std::move(refused.message), "", std::move(refused.hint)};
	}
}

}  // namespace plank::core

// Writing the server's messages. Runs in the worker. Must not call PostgreSQL.
#include "core/reply.hpp"

#include "core/json.hpp"

namespace plank::core {

namespace {

std::string begin(std::string_view type)
{
	std::string out = "{\"type\":\"";
	out.append(type) += '"';
	return out;
}

void add(std::string& out, std::string_view name, std::string_view text)
{
	out.append(",\"").append(name).append("\":");
	append_json_string(out, text);
}

void add_or_null(std::string& out, std::string_view name, std::string_view text)
{
	out.append(",\"").append(name).append("\":");
	append_json_string_or_null(out, text);
}

void add_shape(std::string& out, const Shape& shape, const ColumnNames& columns = nullptr)
{
	out.append("\"table\":").append(shape.table_json);
	out.append(",\"key\":").append(shape.key_names_json);
	out.append(",\"columns\":").append(chosen_columns_json(shape, columns));
}

void add_resumed(std::string& out, Resumed resumed)
{
	if (resumed != Resumed::not_asked) out.append(",\"resumed\":").append(resumed == Resumed::yes ? "true" : "false");
}

}  // namespace

std::string welcome_message(std::string_view session, std::string_view role)
{
	std::string out = begin("welcome");
	add(out, "protocol", "plank.v1");
	add(out, "server", PLANK_VERSION);
	add(out, "session", session);
	add_or_null(out, "role", role);
	return out += '}';
}

std::string authenticated_message(std::string_view id, std::string_view role, int64_t expires_at)
{
	std::string out = begin("authenticated");
	if (!id.empty()) add(out, "id", id);
	add(out, "role", role);
	out += ",\"expires_at\":";
	append_json_time(out, expires_at);
	return out += '}';
}

std::string subscribed_message(std::string_view id, const Shape& shape, const ColumnNames& columns,
                               std::string_view position, Resumed resumed)
{
	std::string out = begin("subscribed");
	add(out, "id", id);
	out += ',';
	add_shape(out, shape, columns);
	add(out, "position", position);
	add_resumed(out, resumed);
	return out += '}';
}

std::string channel_subscribed_message(std::string_view id, std::string_view channel, std::string_view position,
                                       Resumed resumed)
{
	std::string out = begin("subscribed");
	add(out, "id", id);
	add(out, "channel", channel);
	add(out, "position", position);
	add_resumed(out, resumed);
	return out += '}';
}

std::string unsubscribed_message(std::string_view id, std::string_view code, std::string_view message)
{
	std::string out = begin("unsubscribed");
	add(out, "id", id);
	add_or_null(out, "code", code);
	add_or_null(out, "message", message);
	return out += '}';
}

std::string reset_message(std::string_view id, std::string_view reason, std::string_view position)
{
	std::string out = begin("reset");
	add(out, "id", id);
	add(out, "reason", reason);
	add(out, "position", position);
	return out += '}';
}

std::string rows_message(std::string_view id, std::string_view rows, std::string_view position)
{
	std::string out = begin("rows");
	out.reserve(out.size() + rows.size() + id.size() + position.size() + 64);
	add(out, "id", id);
	out.append(",\"rows\":[").append(rows).append("],\"more\":").append(position.empty() ? "true" : "false");
	if (!position.empty()) add(out, "position", position);
	return out += '}';
}

std::string position_message(std::string_view position)
{
	std::string out = begin("position");
	add(out, "position", position);
	return out += '}';
}

std::string tables_message(std::string_view id, const std::vector<ReadableTable>& tables)
{
	std::string out = begin("tables");
	if (!id.empty()) add(out, "id", id);
	out += ",\"tables\":[";
	bool first = true;
	for (const ReadableTable& table : tables) {
		if (!first) out += ',';
		first = false;
		out += '{';
		add_shape(out, *table.shape, table.columns);
		out += '}';
	}
	return out += "]}";
}

std::string error_message(const Fault& fault)
{
	std::string out = begin("error");
	add_or_null(out, "id", fault.id);
	add(out, "code", fault.code);
	add(out, "message", fault.message);
	add_or_null(out, "detail", fault.detail);
	add_or_null(out, "hint", fault.hint);
	return out += '}';
}

std::string pong_message(std::string_view id)
{
	std::string out = begin("pong");
	if (!id.empty()) add(out, "id", id);
	return out += '}';
}

}  // namespace plank::core

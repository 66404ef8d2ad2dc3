// Writing transactions for tests, byte by byte as the capture side does, and reading the server's JSON.
#pragma once

#include <jansson.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.hpp"
#include "core/record.hpp"
#include "core/shape.hpp"

namespace plank::test {

inline core::Shape shape_of(uint32_t relation, const std::string& table, const std::vector<core::Column>& columns,
                            const std::vector<uint32_t>& key)
{
	core::Shape shape;
	shape.relation = relation;
	shape.table = table;
	shape.columns = columns;
	shape.key = key;
	shape.derive();
	return shape;
}

// A transaction's body under construction. Values are JSON texts; an empty one is null.
class Body {
 public:
	using Values = std::vector<std::string>;
	using Former = std::vector<std::pair<uint32_t, std::string>>;

	uint32_t shape(const core::Shape& shape)
	{
		shapes_.push_back(shape.encode());
		return static_cast<uint32_t>(shapes_.size() - 1);
	}
	Body& row(core::Tag tag, uint32_t shape, const Values& values)
	{
		core::append_record(records_, tag, image(shape, values));
		return *this;
	}
	Body& update(uint32_t shape, const Values& now, const Former& former)
	{
		std::string content = image(shape, now);
		core::append_varint(content, former.size());
		for (const auto& [column, value] : former) {
			core::append_varint(content, column);
			core::append_counted(content, value);
		}
		core::append_record(records_, core::Tag::update, content);
		return *this;
	}
	Body& truncate(uint32_t shape)
	{
		core::append_record(records_, core::Tag::truncate, image(shape, {}));
		return *this;
	}
	Body& message(std::string_view channel, std::string_view payload)
	{
		std::string content;
		core::append_counted(content, channel);
		content += payload;
		core::append_record(records_, core::Tag::message, content);
		return *this;
	}
	Body& reset(uint32_t relation, std::string_view reason)
	{
		std::string content;
		core::append_varint(content, relation);
		content += reason;
		core::append_record(records_, core::Tag::reset, content);
		return *this;
	}
	Body& lost(const std::vector<uint32_t>& relations)
	{
		std::string content;
		for (const uint32_t relation : relations)
			core::append_varint(content, relation);
		core::append_record(records_, core::Tag::lost, content);
		return *this;
	}
	std::string bytes() const
	{
		std::string body;
		core::append_varint(body, shapes_.size());
		for (const std::string& shape : shapes_)
			core::append_counted(body, shape);
		return body + records_;
	}
	// As the worker has it when all parts have come; nothing when read_body refuses it.
	std::optional<core::Transaction> transaction(uint64_t xid, core::ShapeCache& shapes, int64_t committed_at = 0) const
	{
		core::Transaction transaction;
		transaction.xid = xid;
		transaction.committed_at = committed_at;
		transaction.place = xid;
		transaction.position = "e-" + std::to_string(xid);
		if (!core::read_body(bytes(), transaction, shapes)) return std::nullopt;
		return transaction;
	}

 private:
	static std::string image(uint32_t shape, const Values& values)
	{
		std::string content;
		core::append_varint(content, shape);
		for (const std::string& value : values)
			core::append_counted(content, value);
		return content;
	}
	std::vector<std::string> shapes_;
	std::string records_;
};

struct JsonFree {
	void operator()(json_t* value) const noexcept { json_decref(value); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

// Null when `text` is no JSON, with duplicate members counted as a fault.
inline Json parse(std::string_view text)
{
	return Json(json_loadb(text.data(), text.size(), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, nullptr));
}

inline std::string text_of(const json_t* object, const char* name)
{
	const json_t* value = json_object_get(object, name);
	return json_is_string(value) ? json_string_value(value) : std::string();
}

// One spelling for equal JSON values.
inline std::string dump(const json_t* value)
{
	const std::unique_ptr<char, void (*)(void*)> text(
	    json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS), free);
	return text ? text.get() : "";
}

}  // namespace plank::test

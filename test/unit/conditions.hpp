// Rows of four columns, conditions on them that are functions, and what a change is to a subscription: so simple that they
// are right by sight. For the model of the hub's filters.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "core/record.hpp"

namespace plank::test {

constexpr size_t kColumns = 4;
constexpr const char* kNames[kColumns] = {"id", "a", "b", "v"};

using Row = std::array<std::optional<int>, kColumns>;  // null or a number, which `v` shows as text

inline std::string json_of(const Row& row, size_t column)
{
	if (!row[column]) return "";
	const std::string number = std::to_string(*row[column]);
	return column == 3 ? "\"" + number + "\"" : number;
}

// "": every row. Else joined by " and ": `a = 1`, `a in 3 1 2 0` (how many first), `a between 1 3`, `a < 2`, `a <> 1`,
// `a isnull`, `id third 1` (of a division by 3). Null passes none but `isnull`.
inline bool holds(const std::string& condition, const std::function<std::optional<int>(size_t)>& value_of)
{
	std::istringstream words(condition);
	for (std::string name; words >> name;) {
		if (name == "and") words >> name;
		std::string op;
		words >> op;
		size_t column = 0;
		while (name != kNames[column])
			++column;
		const std::optional<int> value = value_of(column);
		int first = 0, second = 0, count = 0;
		bool good = false;
		if (op == "isnull") {
			good = !value;
		} else if (op == "in") {
			for (words >> count; count > 0; --count) {
				words >> first;
				good |= value == first;
			}
		} else if (op == "between") {
			words >> first >> second;
			good = value && *value >= first && *value <= second;
		} else if (op == "third") {
			words >> first;
			good = value && *value % 3 == first;
		} else {
			words >> first;
			good = value && (op == "=" ? *value == first : op == "<" ? *value < first : *value != first);
		}
		if (!good) return false;
	}
	return true;
}
inline bool holds(const std::string& condition, const Row& row)
{
	return holds(condition, [&](size_t column) { return row[column]; });
}

struct Happening {
	uint32_t relation = 0;
	core::Op op = core::Op::insert;
	Row before, now;
};
struct Watch {
	uint32_t relation = 0;
	std::string where;
	std::vector<std::string> events;
	std::optional<std::vector<size_t>> columns;
	bool shows(size_t column) const
	{
		return column == 0 || !columns || std::find(columns->begin(), columns->end(), column) != columns->end();
	}
};

inline std::string object(const Row& row, const std::function<bool(size_t)>& has)
{
	std::string out = "{";
	// As jansson sorts them.
	for (const size_t i : {size_t{1}, size_t{2}, size_t{0}, size_t{3}}) {
		if (!has(i)) continue;
		const std::string value = json_of(row, i);
		out += (out.size() > 1 ? ",\"" : "\"") + std::string(kNames[i]) + "\":" + (value.empty() ? "null" : value);
	}
	return out + "}";
}
// What the change is to the subscription; "": nothing.
inline std::string said_of(const Watch& watch, const std::string& policy, const Happening& happening)
{
	if (watch.relation != happening.relation) return "";
	const auto wants = [&](const char* op) {
		return std::find(watch.events.begin(), watch.events.end(), op) != watch.events.end();
	};
	if (happening.op == core::Op::truncate) return wants("truncate") ? "truncate" : "";
	const auto sees = [&](const Row& row) { return holds(policy, row) && holds(watch.where, row); };
	const bool before = happening.op != core::Op::insert && sees(happening.before);
	const bool after = happening.op != core::Op::remove && sees(happening.now);
	if (!before && !after) return "";
	const char* const op = before && after ? "update" : after ? "insert" : "delete";
	if (!wants(op)) return "";
	const auto shown = [&](size_t i) { return watch.shows(i); };
	const auto key = [](size_t i) { return i == 0; };
	const Row& row = after ? happening.now : happening.before;
	std::string said = std::string(op) + " key " + object(row, key);
	if (after) said += " new " + object(row, shown);
	if (before && after) {
		const auto changed = [&](size_t i) { return happening.before[i] != happening.now[i]; };
		bool any_shown = false;
		for (size_t i = 0; i < kColumns; ++i)
			any_shown |= changed(i) && shown(i);
		if (watch.columns && !any_shown) return "";
		said += " old " + object(happening.before, [&](size_t i) { return shown(i) && (changed(i) || i == 0); });
	} else if (before) {
		said += " old " + object(row, shown);
	}
	if (happening.op == core::Op::update && before != after) said += " cause";
	return said;
}

}  // namespace plank::test

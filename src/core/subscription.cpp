// Choosing columns. Runs in the worker. Must not call PostgreSQL.
#include "core/subscription.hpp"

#include <algorithm>

#include "core/json.hpp"

namespace plank::core {

std::vector<bool> choose_columns(const Shape& shape, const ColumnNames& names)
{
	if (!names) return std::vector<bool>(shape.columns.size(), true);
	std::vector<bool> chosen = shape.in_key;
	for (size_t i = 0; i < chosen.size(); ++i)
		if (std::binary_search(names->begin(), names->end(), shape.columns[i].name)) chosen[i] = true;
	return chosen;
}

std::string chosen_columns_json(const Shape& shape, const ColumnNames& names)
{
	if (!names) return shape.columns_json;
	const std::vector<bool> chosen = choose_columns(shape, names);
	std::string json = "[";
	for (size_t i = 0; i < chosen.size(); ++i) {
		if (!chosen[i]) continue;
		if (json.size() > 1) json += ',';
		// A member is the name as JSON and a colon.
		json.append("{\"name\":").append(shape.member[i], 0, shape.member[i].size() - 1).append(",\"type\":");
		append_json_string(json, shape.columns[i].type);
		json += '}';
	}
	return json += ']';
}

}  // namespace plank::core

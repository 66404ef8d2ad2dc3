// Whom resets concern. Runs in the worker. Must not call PostgreSQL.
#include "core/reset.hpp"

#include <algorithm>

namespace plank::core {

bool Reset::concerns(const std::vector<std::string>* columns) const noexcept
{
	if (new_key.empty()) return true;
	return columns && !std::all_of(new_key.begin(), new_key.end(), [&](const std::string& name) {
		       return std::binary_search(columns->begin(), columns->end(), name);
	       });
}

bool Reset::concerns(const Subscription& subscription) const noexcept
{
	if (!subscription.relation) return false;
	return relation == kAllTables || (relation == subscription.relation && concerns(subscription.columns.get()));
}

bool concern(const std::vector<Reset>& resets, const Subscription& subscription) noexcept
{
	return std::any_of(resets.begin(), resets.end(), [&](const Reset& reset) { return reset.concerns(subscription); });
}

std::vector<Reset> resets_between(const Shape& former, const Shape& now)
{
	if (replaces_column(former, now)) return {{now.relation, "another column has the name of a former one"}};
	std::vector<std::string> new_key = new_in_key(former, now);
	if (new_key.empty()) return {};
	const bool all_known = std::all_of(new_key.begin(), new_key.end(), [&](const std::string& name) {
		return std::any_of(former.columns.begin(), former.columns.end(),
		                   [&](const Column& column) { return column.name == name; });
	});
	if (!all_known) new_key.clear();
	return {{now.relation, "its key has columns that were left out", false, std::move(new_key)}};
}

}  // namespace plank::core

// Rights as text: after a mark, pairs of a table's OID and its number, in hexadecimal. Runs in the worker. Must not call
// PostgreSQL.
#include "core/rights.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace plank::core {

namespace {

constexpr char kMark = '!';  // in no other part of a position
constexpr char kBetween = '.';
// More tables than this on one connection make positions that nothing resumes from: they stand on every transaction.
constexpr size_t kMostTables = 32;
constexpr std::string_view kTooMany = "x";

void append_pair(std::string& out, uint32_t relation, uint64_t rights)
{
	char text[64];
	char* end = std::to_chars(text, text + sizeof text, relation, 16).ptr;
	*end++ = kBetween;
	end = std::to_chars(end, text + sizeof text, rights, 16).ptr;
	out.append(text, end);
}

}  // namespace

// FNV-1a.
uint64_t make_rights(uint64_t row_security, const ColumnNames& readable, std::string_view identity)
{
	if (!row_security && !readable) return 0;
	uint64_t hash = 14695981039346656037u ^ row_security;
	const auto add = [&](std::string_view text) {
		for (const char byte : text)
			hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211u;
		hash *= 1099511628211u;
	};
	if (row_security) add(identity);
	if (readable)
		for (const std::string& name : *readable)
			add(name);
	return hash | 1;
}

std::string rights_suffix(const Subscription& subscription)
{
	return subscription.rights ? rights_suffix(TableRights{{subscription.relation, subscription.rights}}) : "";
}

std::string rights_suffix(TableRights all)
{
	if (all.empty()) return "";
	std::sort(all.begin(), all.end());
	all.erase(std::unique(all.begin(), all.end()), all.end());
	std::string out(1, kMark);
	if (all.size() > kMostTables) return out.append(kTooMany);
	for (const auto& [relation, rights] : all) {
		if (out.size() > 1) out += kBetween;
		append_pair(out, relation, rights);
	}
	return out;
}

std::string_view without_rights(std::string_view position) { return position.substr(0, position.find(kMark)); }

bool has_rights(std::string_view position, const Subscription& subscription)
{
	const size_t at = position.find(kMark);
	if (at == std::string_view::npos) return subscription.rights == 0;
	if (position.substr(at + 1) == kTooMany) return false;
	// The one pair of the table is this, and there is no other.
	size_t pairs = 0;
	bool found = false;
	const char* from = position.data() + at + 1;
	const char* const end = position.data() + position.size();
	while (from < end) {
		uint32_t relation = 0;
		uint64_t rights = 0;
		const auto first = std::from_chars(from, end, relation, 16);
		if (first.ec != std::errc() || first.ptr == end || *first.ptr != kBetween) return false;
		const auto second = std::from_chars(first.ptr + 1, end, rights, 16);
		if (second.ec != std::errc()) return false;
		if (relation == subscription.relation) {
			++pairs;
			found = rights == subscription.rights;
		}
		from = second.ptr == end ? end : second.ptr + 1;
	}
	return subscription.rights == 0 ? pairs == 0 : pairs == 1 && found;
}

}  // namespace plank::core

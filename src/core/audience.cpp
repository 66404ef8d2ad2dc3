// Who belongs to an audience and what concerns it. Runs in the worker. Must not call PostgreSQL.
#include "core/audience.hpp"

#include <algorithm>
#include <map>

#include "core/bytes.hpp"
#include "core/json.hpp"

namespace plank::core {

namespace {

// Of entries that concern an audience, so many are known at once.
constexpr ptrdiff_t kHeard = 64;

std::string head_of(const std::vector<std::string>& ids)
{
	std::string head = "{\"ids\":[";
	for (const std::string& id : ids) {
		if (head.back() != '[') head += ',';
		append_json_string(head, id);
	}
	return head += ']';
}

std::string part_of_key(const Subscription& subscription)
{
	std::string part;
	append_varint(part, subscription.relation);
	append_varint(part, subscription.events);
	append_varint(part, subscription.numbers_as_text);
	append_varint(part, subscription.snapshot);
	append_varint(part, subscription.filter);
	append_varint(part, subscription.rights);
	append_counted(part, subscription.channel);
	append_counted(part, subscription.id);
	append_varint(part, subscription.columns ? subscription.columns->size() + 1 : 0);
	if (subscription.columns)
		for (const std::string& name : *subscription.columns)
			append_counted(part, name);
	return part;
}

// Sorts subscriptions to one table by what they see of it; none of it is equal for those that see the same.
bool views_before(const Subscription& a, const Subscription& b)
{
	// kNoFilter is the largest; it comes first.
	if (a.filter != b.filter) return a.filter + 1 < b.filter + 1;
	if (a.numbers_as_text != b.numbers_as_text) return b.numbers_as_text;
	// Where one of them was asked for before the role's rights changed, until that has been looked at.
	if (a.rights != b.rights) return a.rights < b.rights;
	if (!a.columns || !b.columns) return !a.columns && b.columns;
	return *a.columns < *b.columns;
}

}  // namespace

std::string audience_key(const std::string& identity, const std::vector<Subscription>& subscriptions)
{
	std::vector<std::string> parts;
	for (const Subscription& subscription : subscriptions)
		if (!subscription.reading) parts.push_back(part_of_key(subscription));
	std::sort(parts.begin(), parts.end());
	std::string key;
	append_counted(key, identity);
	for (const std::string& part : parts)
		key += part;
	return key;
}

Audience::Audience(std::string key, const std::vector<Subscription>& subscriptions, const Catchup& catchup)
    : key_(std::move(key)), seen_(catchup.seen)
{
	if (catchup.wanted) {
		catchup_id_ = subscriptions.front().id;
		catchup_ = "\"catchup\":";
		append_json_string(catchup_, catchup_id_);
		catchup_ += ',';
		if (seen_) suffix_ = seen_->suffix();
	}
	TableRights rights;
	for (const Subscription& subscription : subscriptions)
		if (subscription.rights && (!subscription.reading || catchup.wanted))
			rights.emplace_back(subscription.relation, subscription.rights);
	rights_ = rights_suffix(std::move(rights));
	suffix_ += rights_;
	std::map<uint32_t, std::vector<const Subscription*>> by_table;
	std::map<std::string, std::vector<std::string>> by_channel;
	for (const Subscription& subscription : subscriptions) {
		if (subscription.reading && !catchup.wanted) continue;
		if (subscription.relation)
			by_table[subscription.relation].push_back(&subscription);
		else
			by_channel[subscription.channel].push_back(subscription.id);
	}
	for (auto& [relation, watchers] : by_table) {
		WatchedTable watched;
		watched.relation = relation;
		// One connection may have thousands.
		const auto before = [](const Subscription* a, const Subscription* b) { return views_before(*a, *b); };
		std::stable_sort(watchers.begin(), watchers.end(), before);
		for (auto first = watchers.begin(); first != watchers.end();) {
			const auto last = std::upper_bound(first, watchers.end(), *first, before);
			Form form = make_form({first, last});
			watched.events |= form.events;
			// To a filter an update may be an insert or a delete.
			if (form.filter != kNoFilter) watched.events |= op_bit(Op::update);
			watched.every_row |= form.filter == kNoFilter;
			has_filters_ |= form.filter != kNoFilter;
			watched.unfiltered += form.filter == kNoFilter;
			watched.forms.push_back(std::move(form));
			first = last;
		}
		tables_.push_back(std::move(watched));
	}
	for (auto& [name, ids] : by_channel) {
		channels_.push_back(name);
		watched_channels_.push_back({name, head_of(ids), std::move(ids)});
	}
}

// Of subscriptions that see the same.
Audience::Form Audience::make_form(std::span<const Subscription* const> watchers)
{
	const Subscription& first = *watchers.front();
	Form form;
	form.numbers_as_text = first.numbers_as_text;
	form.filter = first.filter;
	form.rights = first.rights;
	form.columns = first.columns;
	bool same_events = true;
	form.watchers.reserve(watchers.size());
	for (const Subscription* watcher : watchers) {
		form.watchers.push_back({watcher->id, watcher->snapshot, watcher->events});
		form.events |= watcher->events;
		same_events &= watcher->events == first.events;
	}
	if (watchers.size() == 1) return form;
	form.heads = std::make_unique<std::vector<std::string>>(same_events ? 1 : kOps);
	for (size_t op = 0; op < form.heads->size(); ++op) {
		std::vector<std::string> ids;
		for (const Subscription* watcher : watchers)
			if (same_events || (watcher->events & op_bit(static_cast<Op>(op)))) ids.push_back(watcher->id);
		if (!ids.empty()) (*form.heads)[op] = head_of(ids);
	}
	return form;
}

const std::vector<bool>& Audience::Form::chosen_of(const ShapePtr& shape) const
{
	if (!chosen || chosen->of != shape)
		chosen = std::make_unique<Chosen>(Chosen{shape, choose_columns(*shape, columns)});
	return chosen->columns;
}

void Audience::Form::append_head(std::string& out, Op op) const
{
	if (heads) {
		out += (*heads)[heads->size() == 1 ? 0 : static_cast<size_t>(op)];
		return;
	}
	out += "{\"ids\":[";
	append_json_string(out, watchers.front().id);
	out += ']';
}

bool Audience::has_any(const std::set<std::string_view>& ids) const noexcept
{
	const auto is_one = [&](const Form::Watcher& watcher) { return ids.contains(watcher.id); };
	for (const WatchedTable& watched : tables_)
		for (const Form& form : watched.forms)
			if (std::any_of(form.watchers.begin(), form.watchers.end(), is_one)) return true;
	return std::any_of(watched_channels_.begin(), watched_channels_.end(), [&](const WatchedChannel& watched) {
		return std::any_of(watched.ids.begin(), watched.ids.end(),
		                   [&](const std::string& id) { return ids.contains(id); });
	});
}

std::vector<Subscription> Audience::without(const std::set<std::string_view>& ids) const
{
	std::vector<Subscription> others;
	for (const WatchedTable& watched : tables_)
		for (const Form& form : watched.forms)
			for (const Form::Watcher& watcher : form.watchers) {
				if (ids.contains(watcher.id)) continue;
				Subscription& other = others.emplace_back();
				other.id = watcher.id;
				other.relation = watched.relation;
				other.events = watcher.events;
				other.numbers_as_text = form.numbers_as_text;
				other.snapshot = watcher.with_rows;
				other.filter = form.filter;
				other.columns = form.columns;
				other.rights = form.rights;
			}
	for (const WatchedChannel& watched : watched_channels_)
		for (const std::string& id : watched.ids) {
			if (ids.contains(id)) continue;
			Subscription& other = others.emplace_back();
			other.id = id;
			other.channel = watched.channel;
		}
	return others;
}

std::vector<uint32_t> Audience::relations() const
{
	std::vector<uint32_t> all;
	for (const WatchedTable& watched : tables_)
		all.push_back(watched.relation);
	return all;
}

const Audience::WatchedTable* Audience::table(uint32_t relation) const noexcept
{
	const auto found = std::lower_bound(tables_.begin(), tables_.end(), relation,
	                                    [](const WatchedTable& a, uint32_t b) { return a.relation < b; });
	return found != tables_.end() && found->relation == relation ? &*found : nullptr;
}

const Audience::WatchedChannel* Audience::channel(std::string_view name) const noexcept
{
	const auto found = std::lower_bound(watched_channels_.begin(), watched_channels_.end(), name,
	                                    [](const WatchedChannel& a, std::string_view b) { return a.channel < b; });
	return found != watched_channels_.end() && found->channel == name ? &*found : nullptr;
}

// Either side may be long: an audience with a thousand channels, a transaction that speaks on a hundred thousand. So the
// shorter one is looked up in the other.
bool Audience::hears(const LogEntry& entry) const noexcept
{
	if (watched_channels_.size() < entry.channels.size())
		return std::any_of(channels_.begin(), channels_.end(), [&](const std::string& name) {
			return std::binary_search(entry.channels.begin(), entry.channels.end(), name);
		});
	return std::any_of(entry.channels.begin(), entry.channels.end(),
	                   [&](const std::string& name) { return channel(name) != nullptr; });
}

bool Audience::watches(const LogEntry& entry) const noexcept
{
	if (catches_up()) {
		// A plain NOTIFY has no replay.
		if (entry.plain_notify) return false;
		if (seen_ && entry.is_transaction() && seen_->has(entry.transaction.xid)) return false;
	}
	for (const Touched& touched : entry.tables) {
		const WatchedTable* watched = table(touched.relation);
		if (!watched || !(watched->events & touched.ops)) continue;
		// What a filter passes is not known yet for what must be judged again.
		if (watched->every_row || catches_up() || (touched.ops & op_bit(Op::truncate))) return true;
	}
	const auto found_one = [](const Form&, std::span<const Match>) { return false; };
	if (has_filters_ && !entry.matches.empty() && !for_each_match(entry, found_one)) return true;
	if (!watched_channels_.empty() && !entry.channels.empty() && hears(entry)) return true;
	for (const Reset& reset : entry.resets)
		if (reset.relation == kAllTables ? !tables_.empty() : table(reset.relation) != nullptr) return true;
	return entry.new_shape && table(entry.new_shape->relation);
}

bool Audience::concerns(const Reset& reset) const noexcept
{
	if (reset.relation == kAllTables) return true;
	const WatchedTable* watched = table(reset.relation);
	return watched && std::any_of(watched->forms.begin(), watched->forms.end(),
	                              [&](const Form& form) { return reset.concerns(form.columns.get()); });
}

const Audience::Measure& Audience::measure(const TransactionLog& log, uint64_t from, uint64_t until)
{
	if (measured_.until == until && measured_.from == from) return measured_;
	measured_ = Measure{from, until, {until, 0}, 0, nullptr, false};
	for (uint64_t number = from; number < until; ++number) {
		const LogEntry& entry = log.at(number);
		if (!watches(entry)) continue;
		if (measured_.first.entry == until) measured_.first = {number, 0};
		measured_.bytes += entry.body().size();
		for (const Reset& reset : entry.resets)
			measured_.has_reset |= concerns(reset);
		if (measured_.shape || tables_.empty()) continue;
		for (const ShapePtr& shape : entry.transaction.shapes)
			if (!measured_.shape && shape && shape->relation == tables_.front().relation) measured_.shape = shape;
	}
	return measured_;
}

void Audience::hear(uint64_t entry)
{
	// Those who are idle have had what was before. There is seldom more than a turn's.
	if (idle.size() == members) heard_.clear();
	if (heard_.size() == size_t{kHeard}) heard_.erase(heard_.begin(), heard_.begin() + kHeard / 2);
	heard_.push_back(entry);
}

// Looking at what the log holds for others is work that grows with their number; so it is looked at only where nobody has
// told the audience what concerns it.
Cursor Audience::skip(const TransactionLog& log, Cursor at, uint64_t until) const noexcept
{
	if (at.offset > 0) return at;
	for (; at.entry < until && (heard_.empty() || at.entry < heard_.front()); ++at.entry)
		if (watches(log.at(at.entry))) return at;
	const auto next = std::lower_bound(heard_.begin(), heard_.end(), at.entry);
	if (at.entry < until) at.entry = next == heard_.end() ? until : std::min(*next, until);
	return at;
}

}  // namespace plank::core

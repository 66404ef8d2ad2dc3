// The hub's second look: what it has told subscribers is held against the catalog again, for names, columns, privileges and
// row security change under them. In slices of a turn, outside network callbacks. Must not call PostgreSQL itself.
//
//   look_again ─▶ tables, by role ─┬─ lost, or a named column is ─▶ unsubscribed
//                      │           └─ other columns by default ───▶ subscribed, reset
//                      └─▶ filters ─┬─ fail ──────────────────────▶ unsubscribed
//                                   └─ let other rows pass ─▶ stale ─▶ had anew ─▶ reset
//
// While a filter is stale nothing is judged and nothing goes into the log: what its subscribers get was logged before.
#include <algorithm>
#include <functional>
#include <utility>

#include "core/hub.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

constexpr auto kAskAgain = std::chrono::milliseconds(50);
constexpr auto kLongestStale = std::chrono::milliseconds(800);
constexpr int kMostErrors = 10;
constexpr const char* kColumnGone = "a column of the subscription no longer exists or may not be read";

// Those of the names that mean the same columns in another shape of the table, as they are called there.
ColumnNames same_columns(const Shape& former, const Shape& now, const std::vector<std::string>& names)
{
	std::vector<std::string> same;
	for (const Column& column : now.columns)
		for (const Column& other : former.columns) {
			const bool is_same =
			    other.number && column.number ? other.number == column.number : other.name == column.name;
			if (is_same && std::binary_search(names.begin(), names.end(), other.name)) same.push_back(column.name);
		}
	std::sort(same.begin(), same.end());
	return std::make_shared<const std::vector<std::string>>(std::move(same));
}

bool equal(const ColumnNames& a, const ColumnNames& b) { return a == b || (a && b && *a == *b); }

}  // namespace

// --- Tables --------------------------------------------------------------------------------------------------------

void Hub::look_again(const CatalogChange& change)
{
	for (const auto& [relation, watched] : tables_)
		for (const auto& [role, view] : watched.roles) {
			Look& look = looks_[{relation, role}];
			look.rights |= change.rights();
			look.table |= change.concerns(relation);
		}
	look_at_channels_ = !channels_.empty();
	look_at_locked();
}

// Called now and then: DDL may have let go.
void Hub::look_at_locked()
{
	for (const auto& [key, locked] : locked_looks_) {
		Look& look = looks_[key];
		look.rights |= locked.rights;
		look.table |= locked.table;
	}
	locked_looks_.clear();
	look_at_channels_ |= channels_unknown_;
	look_at_filters_ = live_filters_ > 0;
	renew_at_ = {};
}

bool Hub::has_to_look() const noexcept
{
	const auto now = std::chrono::steady_clock::now();
	return look_at_channels_ || look_at_filters_ || !looks_.empty() || (!stale_.empty() && now >= renew_at_);
}

bool Hub::look_further(std::chrono::steady_clock::time_point deadline)
{
	if (!has_to_look()) return false;
	settle();
	// First, because the stream waits for them.
	renew_filters(deadline);
	look_at_tables(deadline);
	if (std::exchange(look_at_channels_, false)) look_at_channels();
	look_at_filters(deadline);
	renew_filters(deadline);
	end_failed_filters();
	settle();
	return has_to_look();
}

void Hub::look_at_tables(std::chrono::steady_clock::time_point deadline)
{
	if (looks_.empty()) return;
	// Named by what stands in looks_.
	Outcomes outcomes;
	auto next = looks_.begin();
	while (next != looks_.end()) {
		const auto& [key, look] = *next++;
		TableAnswer answer = catalog_.look_again(key.second, key.first);
		outcomes[{key.first, key.second}] = {std::move(answer), look, false};
		if (std::chrono::steady_clock::now() >= deadline) break;
	}
	act_on(outcomes);
	// The outcomes are named by them.
	std::vector<decltype(looks_)::node_type> looked;
	while (looks_.begin() != next) {
		const auto& first = looks_.begin()->first;
		const Access access = outcomes.at({first.first, first.second}).answer.access;
		// Those two tell nothing: the next look will.
		const bool locked = access == Access::busy || access == Access::failed;
		auto node = looks_.extract(looks_.begin());
		if (locked)
			locked_looks_.insert(std::move(node));
		else
			looked.push_back(std::move(node));
	}
}

// The answers become what subscribers hear.
void Hub::act_on(Outcomes& outcomes)
{
	const auto lost = [&](Access access) {
		return [&outcomes, access](const Session& session, const Subscription& subscription) {
			const auto found = outcomes.find({subscription.relation, session.role});
			return found != outcomes.end() && found->second.answer.access == access;
		};
	};
	const auto any = [&](auto&& is) {
		return std::any_of(outcomes.begin(), outcomes.end(), [&](const auto& item) { return is(item.second); });
	};
	if (any([](const Outcome& outcome) { return outcome.answer.access == Access::absent; }))
		end_where(lost(Access::absent), code::kUndefinedTable, kTableAbsent);
	if (any([](const Outcome& outcome) { return outcome.answer.access == Access::key_hidden; }))
		end_where(lost(Access::key_hidden), code::kNotSupported, kKeyHidden);
	for (auto& [key, outcome] : outcomes) {
		const TableAnswer& answer = outcome.answer;
		const auto watched = tables_.find(key.first);
		if (answer.access != Access::granted || watched == tables_.end()) continue;
		const auto role = watched->second.roles.find(std::string(key.second));
		if (role == watched->second.roles.end()) continue;
		outcome.columns = !watched->second.checked || watched->second.checked->identity != answer.shape->identity ||
		                  !equal(role->second.readable, answer.readable);
		role->second.readable = answer.readable;
	}
	if (any([](const Outcome& outcome) { return outcome.columns; })) hold_columns_against(outcomes);
	for (const auto& [key, outcome] : outcomes)
		if (outcome.answer.access == Access::granted) look_at_shape(outcome.answer.shape, outcome.look.rights);
	if (!any([](const Outcome& outcome) { return outcome.look.table && outcome.answer.row_security; })) return;
	for_each_subscription([&](Session& session, Subscription& subscription) {
		if (subscription.filter != kNoFilter) return;
		const auto found = outcomes.find({subscription.relation, session.role});
		if (found != outcomes.end() && found->second.look.table && found->second.answer.row_security)
			make_stale(session, subscription);
	});
}

// Whoever has named a column that is lost ends; whoever has the columns there are for its role gets them anew.
void Hub::hold_columns_against(const Outcomes& outcomes)
{
	const auto answer_for = [&](const Session& session, const Subscription& subscription) -> const TableAnswer* {
		const auto found = outcomes.find({subscription.relation, session.role});
		return found == outcomes.end() || !found->second.columns ? nullptr : &found->second.answer;
	};
	const auto lacks = [&](const Session& session, const Subscription& subscription) {
		const TableAnswer* answer = subscription.chosen ? answer_for(session, subscription) : nullptr;
		return answer && !std::all_of(subscription.columns->begin(), subscription.columns->end(),
		                              [&](const std::string& name) { return answer->has_column(name); });
	};
	end_where(lacks, code::kUndefinedColumn, kColumnGone);
	for_each_subscription([&](Session& session, Subscription& subscription) {
		const TableAnswer* answer = answer_for(session, subscription);
		if (!answer) return;
		const uint64_t rights = rights_of(session, subscription);
		if (std::exchange(subscription.rights, rights) != rights) changed_subscriptions(session);
		if (subscription.chosen || equal(subscription.columns, answer->readable)) return;
		subscription.columns = answer->readable;
		start_anew(session, subscription, answer->shape, Anew::columns);
	});
}

// The table as the catalog has it now.
void Hub::look_at_shape(const ShapePtr& shape, bool rights)
{
	announce_shape(shape);
	const auto watched = tables_.find(shape->relation);
	if (watched == tables_.end()) return;
	const ShapePtr checked = std::exchange(watched->second.checked, shape);
	if (!rights && checked && checked->identity == shape->identity) return;
	if (!evaluator_.has_filters(shape->relation)) return;
	evaluator_.look_again(*shape);
	look_at_filters_ = true;
}

// The log has come to another shape before the catalog was asked. A role that may read some columns goes on with the same
// ones, whatever they are called now, and is told nothing of others.
void Hub::follow_columns(const Shape& former, const ShapePtr& shape)
{
	const auto watched = tables_.find(shape->relation);
	if (watched == tables_.end()) return;
	std::map<std::string_view, bool> limited;  // roles, and whether they may read the key
	for (auto& [role, view] : watched->second.roles) {
		if (!view.readable) continue;
		view.readable = same_columns(former, *shape, *view.readable);
		const std::vector<std::string>& names = *view.readable;
		limited[role] = std::all_of(shape->key.begin(), shape->key.end(), [&](uint32_t column) {
			return std::binary_search(names.begin(), names.end(), shape->columns[column].name);
		});
	}
	if (limited.empty()) return;
	const auto readable = [&](const Session& session) -> const ColumnNames& {
		return watched->second.roles.find(session.role)->second.readable;
	};
	const auto is_limited = [&](const Session& session, const Subscription& subscription) {
		return subscription.relation == shape->relation && limited.contains(session.role);
	};
	for_each_subscription([&](Session& session, Subscription& subscription) {
		if (!is_limited(session, subscription) || subscription.chosen) return;
		const ColumnNames& names = readable(session);
		if (equal(subscription.columns, names)) return;
		subscription.columns = names;
		changed_subscriptions(session);
		if (subscription.reading) start_anew(session, subscription, shape, Anew::columns);
	});
	end_where(
	    [&](const Session& session, const Subscription& subscription) {
		    if (!is_limited(session, subscription) || !subscription.chosen) return false;
		    const ColumnNames& names = readable(session);
		    return !std::includes(names->begin(), names->end(), subscription.columns->begin(),
		                          subscription.columns->end());
	    },
	    code::kUndefinedColumn, kColumnGone);
	end_where(
	    [&](const Session& session, const Subscription& subscription) {
		    return is_limited(session, subscription) && !limited.at(session.role);
	    },
	    code::kNotSupported, kKeyHidden);
}

void Hub::look_at_channels()
{
	std::set<std::pair<std::string_view, std::string_view>> lost;
	// Should it fail, the next look_at_locked asks again.
	channels_unknown_ = true;
	for (const auto& [channel, watched] : channels_)
		for (const auto& [role, view] : watched.roles)
			if (!catalog_.may_hear(role, channel)) lost.emplace(role, channel);
	channels_unknown_ = false;
	if (lost.empty()) return;
	end_where(
	    [&](const Session& session, const Subscription& subscription) {
		    return !subscription.relation && lost.contains({session.role, subscription.channel});
	    },
	    code::kInsufficientPrivilege, "channel is not exposed to this role");
}

// --- Filters -------------------------------------------------------------------------------------------------------

void Hub::look_at_filters(std::chrono::steady_clock::time_point deadline)
{
	if (!look_at_filters_) return;
	LookedAgain looked;
	const auto take = [&] {
		failed_filters_.insert(failed_filters_.end(), looked.failed.begin(), looked.failed.end());
		if (!looked.changed.empty()) make_stale(std::move(looked.changed));
	};
	try {
		look_at_filters_ = evaluator_.look_further(deadline, looked);
	} catch (...) {
		take();
		throw;
	}
	take();
}

// These let other rows pass than before. What was judged by them is not theirs any more.
void Hub::make_stale(std::vector<FilterId>&& filters)
{
	std::sort(filters.begin(), filters.end());
	for (const FilterId filter : filters)
		if (filter < filters_.size() && filters_[filter].references > 0) filters_[filter].born = ++filters_born_;
	progress_ = {};
	again_ = {};
	for_each_subscription([&](Session& session, Subscription& subscription) {
		if (std::binary_search(filters.begin(), filters.end(), subscription.filter)) make_stale(session, subscription);
	});
}

void Hub::make_stale(Session& session, Subscription& subscription)
{
	if (stale_.empty()) {
		stale_since_ = std::chrono::steady_clock::now();
		stale_errors_ = 0;
		renew_at_ = {};
	}
	subscription.stale = true;
	stale_.insert(&session);
}

// One filter may have stood for many who do not see the same any more, so each of them asks for his own.
void Hub::renew_filters(std::chrono::steady_clock::time_point deadline)
{
	if (std::chrono::steady_clock::now() < renew_at_) return;
	Renewed renewed;
	while (!stale_.empty()) {
		Session& session = **stale_.begin();
		try {
			if (renew_filters(session, renewed)) {
				stale_.erase(&session);
			} else {
				// DDL holds its table.
				renew_at_ = std::chrono::steady_clock::now() + kAskAgain;
				return;
			}
		} catch (...) {
			// The server is in trouble: it is tried again, but not for ever.
			if (++stale_errors_ > kMostErrors) {
				stale_.erase(&session);
				stale_errors_ = 0;
				end_subscriptions(
				    session, [](const Subscription& subscription) { return subscription.stale; }, code::kInternalError,
				    "which rows may be seen could not be found out");
			}
			throw;
		}
		if (std::chrono::steady_clock::now() >= deadline) return;
	}
}

// False when it must be asked again later.
bool Hub::renew_filters(Session& session, Renewed& renewed)
{
	std::vector<std::pair<std::string, FilterFault>> refused;
	bool done = true;
	for (Subscription& subscription : session.subscriptions) {
		if (!subscription.stale) continue;
		const std::variant<FilterId, FilterFault> answer = filter_anew(session, subscription, renewed);
		if (const auto* fault = std::get_if<FilterFault>(&answer)) {
			const bool locked = fault->sqlstate == kLocked;
			if (locked && std::chrono::steady_clock::now() - stale_since_ < kLongestStale)
				done = false;
			else
				refused.emplace_back(subscription.id, *fault);
			continue;
		}
		subscription.stale = false;
		const FilterId former = subscription.filter;
		subscription.filter = add_filter(std::get<FilterId>(answer));
		release_filter(former);
		subscription.rights = rights_of(session, subscription);
		// Row security that lets every row pass, as before.
		if (former == kNoFilter && subscription.filter == kNoFilter) continue;
		// A transaction is judged by all of its filters, or by none.
		progress_ = {};
		start_anew(session, subscription, checked_shape(subscription.relation), Anew::rows);
	}
	for (const auto& item : refused) {
		++counters_.errors;
		end_subscriptions(
		    session, [&](const Subscription& subscription) { return subscription.id == item.first; },
		    item.second.sqlstate, item.second.message);
	}
	return done;
}

// There is no time for it.
void Hub::end_stale(std::string_view code, std::string_view message)
{
	for (Session* session : std::exchange(stale_, {}))
		end_subscriptions(
		    *session, [](const Subscription& subscription) { return subscription.stale; }, code, message);
}

// With a reference for the hub. Equal ones of one identity are asked for once.
std::variant<FilterId, FilterFault> Hub::filter_anew(const Session& session, const Subscription& subscription,
                                                     Renewed& renewed)
{
	const std::string_view where = subscription.where ? std::string_view(*subscription.where) : std::string_view();
	std::string key;
	append_varint(key, subscription.relation);
	append_counted(key, session.identity->key);
	append_counted(key, where);
	const auto known = renewed.find(key);
	if (known != renewed.end()) {
		if (known->second != kNoFilter) evaluator_.retain(known->second);
		return known->second;
	}
	const ShapePtr shape = checked_shape(subscription.relation);
	std::variant<FilterId, FilterFault> answer = evaluator_.add_filter(*session.identity, *shape, where);
	if (const auto* filter = std::get_if<FilterId>(&answer)) renewed.emplace(std::move(key), *filter);
	return answer;
}

// See Subscription::rights; as the catalog had the table last.
uint64_t Hub::rights_of(const Session& session, const Subscription& subscription) const
{
	const Watched::Role& view = tables_.at(subscription.relation).roles.at(session.role);
	return make_rights(subscription.filter == kNoFilter ? 0 : evaluator_.rights(subscription.filter), view.readable,
	                   session.identity->key);
}

// The table as the catalog had it last.
ShapePtr Hub::checked_shape(uint32_t relation) const
{
	const auto watched = tables_.find(relation);
	if (watched != tables_.end() && watched->second.checked) return watched->second.checked;
	return shapes_.at(relation).shape;
}

// --- Subscribers ---------------------------------------------------------------------------------------------------

void Hub::for_each_subscription(const std::function<void(Session&, Subscription&)>& visit)
{
	for (const auto& entry : sessions_) {
		if (entry.second->closing) continue;
		for (Subscription& subscription : entry.second->subscriptions)
			if (subscription.relation) visit(*entry.second, subscription);
	}
}

// What a table's or channel's subscribers with one role are to hear when it is no longer theirs.
void Hub::end_where(const std::function<bool(const Session&, const Subscription&)>& ends, const char* code,
                    std::string_view message)
{
	for (const auto& entry : sessions_) {
		Session& session = *entry.second;
		end_subscriptions(
		    session, [&](const Subscription& subscription) { return ends(session, subscription); }, code, message);
	}
}

const char* Hub::reason_for(Anew why)
{
	switch (why) {
		case Anew::columns:
			return "the columns that may be read have changed";
		case Anew::rows:
			return "the rows that may be seen have changed";
		case Anew::unreadable:
			return "a row was written with another definition of the table";
		case Anew::unjudged:
			return "what was missed could not be judged";
		case Anew::too_fast:
			return "changes came faster than the subscriptions' conditions could be judged";
	}
	return "";
}

// What the client holds is void, and what it was about to catch up on is not sent any more.
void Hub::start_anew(Session& session, Subscription& subscription, const ShapePtr& shape, Anew why)
{
	const bool tell = why == Anew::columns;
	const auto reading = std::find_if(readings_.begin(), readings_.end(), [&](const auto& item) {
		return item.second.session == &session && item.second.id == subscription.id;
	});
	// Nothing to be void.
	const bool unread = reading != readings_.end() && !reading->second.sent && !tell;
	drop_readings(session, &subscription.id);
	changed_subscriptions(session);
	if (!unread) make_void(session, subscription, reason_for(why), tell ? shape : nullptr);
	++(why == Anew::unjudged || why == Anew::too_fast ? counters_.resets_lost : counters_.resets_ddl);
	if (subscription.snapshot) begin_reading(session, subscription, shape, 0);
}

}  // namespace plank::core

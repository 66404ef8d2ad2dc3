// The transaction callbacks and what is added besides row changes. Runs in ordinary sessions.
#include "core/bytes.hpp"

#include "backend/replicated_truncate.hpp"
#include "backend/transaction_buffer.hpp"
#include "backend/transport.hpp"
#include "pg/guard.hpp"
#include "pg/session.hpp"
#include "pg/shared_state.hpp"

namespace plank::backend {

namespace {

TransactionRecords records;
bool catalog_changed = false;

void after_end(bool committed) noexcept
{
	if (committed) {
		notify_transport().after_commit();
		if (catalog_changed) {
			if (pg::DatabaseSlot* slot = pg::my_database_slot()) {
				slot->catalog_changes.fetch_add(1);
				pg::wake_workers(slot);
			}
		}
	} else {
		notify_transport().after_abort();
	}
	catalog_changed = false;
	forget_replicated_truncates();
	records.forget();
}

void on_transaction(XactEvent event, void*)
{
	pg::entry([&] {
		switch (event) {
			case XACT_EVENT_PRE_COMMIT:
				add_replicated_truncates();
				if (!records.empty()) notify_transport().before_commit(records);
				break;
			case XACT_EVENT_PRE_PREPARE:
				add_replicated_truncates();
				if (!records.empty()) notify_transport().before_prepare(records);
				break;
			case XACT_EVENT_COMMIT:
				after_end(true);
				break;
			case XACT_EVENT_ABORT:
				after_end(false);
				break;
			case XACT_EVENT_PREPARE:
				// What a prepared transaction changed in the catalog is found by the workers' own look, twice a second.
				after_end(false);
				break;
			case XACT_EVENT_PARALLEL_PRE_COMMIT:
			case XACT_EVENT_PARALLEL_COMMIT:
			case XACT_EVENT_PARALLEL_ABORT:
				break;
		}
	});
}

void on_subtransaction(SubXactEvent event, SubTransactionId, SubTransactionId, void*)
{
	if (!records.memory) return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		records.release_level(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		records.roll_back_level(GetCurrentTransactionNestLevel());
}

// Adds a record made of a tag, bytes counted or not, and more bytes. May ereport.
void add_plain(core::Tag tag, const char* head, int head_length, std::string_view rest)
{
	const Size length = 1 + static_cast<Size>(head_length) + rest.size();
	auto* bytes = static_cast<char*>(MemoryContextAllocHuge(CurrentMemoryContext, length));
	bytes[0] = static_cast<char>(tag);
	memcpy(bytes + 1, head, static_cast<Size>(head_length));
	memcpy(bytes + 1 + head_length, rest.data(), rest.size());
	records.add(GetCurrentCommandId(false), bytes, static_cast<uint32_t>(length));
	pfree(bytes);
}

}  // namespace

void register_transaction_callbacks()
{
	RegisterXactCallback(on_transaction, nullptr);
	RegisterSubXactCallback(on_subtransaction, nullptr);
}

TransactionRecords& current_records() noexcept { return records; }

void records_grew() { notify_transport().grew(records); }

void add_reset(Oid root, const char* reason)
{
	if (!pg::shared_state()) return;
	pg::call([&] {
		if (records.given_up) {
			records.lose(root);
			return;
		}
		char head[core::kMaxVarint];
		add_plain(core::Tag::reset, head, core::put_varint(head, root), reason);
	});
	records_grew();
}

void add_message(std::string_view channel, std::string_view payload)
{
	if (!pg::shared_state()) return;
	pg::call([&] {
		// After the limit a transaction has nothing left to put an event beside; it is lost with the changes.
		if (records.given_up) return;
		char head[core::kMaxVarint + NAMEDATALEN];
		int length = core::put_varint(head, channel.size());
		memcpy(head + length, channel.data(), channel.size());
		length += static_cast<int>(channel.size());
		add_plain(core::Tag::message, head, length, payload);
	});
	records_grew();
}

void note_catalog_change() noexcept { catalog_changed = true; }

}  // namespace plank::backend

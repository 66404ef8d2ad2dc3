// The transaction callbacks and what is added besides row changes. Runs in ordinary sessions.
#include "core/bytes.hpp"
#include "core/chunk.hpp"

#include "backend/chunk_stream.hpp"
#include "backend/replicated_truncate.hpp"
#include "backend/transaction_buffer.hpp"
#include "backend/transport.hpp"
#include "pg/guard.hpp"
#include "pg/session.hpp"
#include "pg/settings.hpp"
#include "pg/shared_state.hpp"

namespace plank::backend {

namespace {

TransactionRecords records;
bool catalog_changed = false;
Transport* chosen = nullptr;

// Chosen once a session: neither its database nor what the server was started with changes. Throws pg::Error.
Transport& transport()
{
	if (chosen) return *chosen;
	if (!pg::call(pg::find_my_database_slot))
		chosen = &gap_transport();
	else if (pg::Settings::transport == static_cast<int>(pg::TransportKind::wal))
		chosen = &wal_transport();
	else
		chosen = &notify_transport();
	return *chosen;
}

void after_end(bool committed) noexcept
{
	if (committed) {
		if (chosen) chosen->after_commit();
		if (catalog_changed) {
			if (pg::DatabaseSlot* slot = pg::my_database_slot()) {
				slot->catalog_changes.fetch_add(1);
				pg::wake_workers(slot);
			}
		}
	} else if (chosen) {
		chosen->after_abort();
	}
	chunk_stream().end();
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
				if (!records.empty()) transport().before_commit(records);
				break;
			case XACT_EVENT_PRE_PREPARE:
				add_replicated_truncates();
				if (!records.empty() || chunk_stream().has_written()) transport().before_prepare(records);
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
	const int level = GetCurrentTransactionNestLevel();
	switch (event) {
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			if (records.records > 0) pg::entry([&] { transport().before_release(records, level); });
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			records.release_level(level);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			records.roll_back_level(level);
			break;
		case SUBXACT_EVENT_START_SUB:
			break;
	}
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

void records_grew() { transport().grew(records); }

void add_reset(Oid root, const char* reason)
{
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
	if (payload.size() > core::kMostRecordBytes - NAMEDATALEN - core::kMaxVarint)
		pg::raise(ERRCODE_PROGRAM_LIMIT_EXCEEDED, "payload is too large", "An event may have 64 MB.");
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

void note_commit_prepared() noexcept
{
	if (pg::DatabaseSlot* const slot = pg::my_database_slot()) pg::wake_workers(slot);
}

}  // namespace plank::backend

// Answers requests. Runs in the process that reads.
#include "snapshot/server.hpp"

#include <algorithm>
#include <string>

#include "pg/encoding.hpp"
#include "pg/execution.hpp"
#include "pg/guard.hpp"
#include "pg/roles.hpp"
#include "pg/unit_of_work.hpp"
#include "snapshot/client_guise.hpp"
#include "snapshot/table_reading.hpp"

namespace plank::snapshot {

namespace {

// The table, locked as for SELECT; the lock goes with the transaction.
class LockedTable {
 public:
	explicit LockedTable(Oid oid) : relation_(pg::call([&] { return open(oid); })) {}
	~LockedTable() { RelationClose(relation_); }
	LockedTable(const LockedTable&) = delete;
	LockedTable& operator=(const LockedTable&) = delete;
	Relation get() const noexcept { return relation_; }

 private:
	// What has been looked up so far must not hold xmin while a lock is waited for.
	static void lock(Oid oid)
	{
		InvalidateCatalogSnapshot();
		LockRelationOid(oid, AccessShareLock);
	}

	static Relation open(Oid oid)
	{
		// Who waits for DDL shows for what.
		const char* const name = get_rel_name(oid);
		if (name)
			pgstat_report_activity(
			    STATE_RUNNING, psprintf("LOCK TABLE %s IN ACCESS SHARE MODE",
			                            quote_qualified_identifier(get_namespace_name(get_rel_namespace(oid)), name)));
		lock(oid);
		const Relation relation = try_relation_open(oid, NoLock);
		if (!relation) ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table does not exist")));
		if (relation->rd_rel->relkind != RELKIND_RELATION && relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
			                errmsg("\"%s\" is not a table", RelationGetRelationName(relation))));
		// The partitions too, so that nothing is waited for once the snapshot is taken.
		if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) {
			ListCell* cell;
			foreach (cell, find_all_inheritors(oid, NoLock, nullptr))
				lock(lfirst_oid(cell));
		}
		return relation;
	}

	const Relation relation_;
};

// The 64-bit id of a transaction that is as old as the snapshot at most.
uint64_t full_id(TransactionId xid, FullTransactionId next)
{
	uint32 epoch = EpochFromFullTransactionId(next);
	if (xid > XidFromFullTransactionId(next)) --epoch;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

// On a standby the transactions in progress are where subtransactions are on a primary; for ids of whole transactions
// that list is complete even when it has overflowed.
core::Visibility visibility_of(const SnapshotData& snapshot)
{
	const FullTransactionId next = ReadNextFullTransactionId();
	core::Visibility visibility;
	visibility.xmin = full_id(snapshot.xmin, next);
	visibility.xmax = full_id(snapshot.xmax, next);
	const bool standby = snapshot.takenDuringRecovery;
	const TransactionId* const ids = standby ? snapshot.subxip : snapshot.xip;
	const size_t count = standby ? static_cast<size_t>(snapshot.subxcnt) : snapshot.xcnt;
	for (size_t i = 0; i < count; ++i) {
		const uint64_t id = full_id(ids[i], next);
		if (id >= visibility.xmin && id < visibility.xmax) visibility.in_progress.push_back(id);
	}
	std::sort(visibility.in_progress.begin(), visibility.in_progress.end());
	return visibility;
}

// A transaction is shown as over after its commit record has been inserted on a primary; on a standby while the record is
// being replayed.
uint64_t wal_end() { return RecoveryInProgress() ? GetCurrentReplayRecPtr(nullptr) : GetXLogInsertRecPtr(); }

void begin_transaction()
{
	pg::call([] {
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
	});
}

// The transaction's only snapshot: repeatable read is what kPinned in main.cpp makes of every transaction.
void take_snapshot()
{
	pg::call([] { PushActiveSnapshot(GetTransactionSnapshot()); });
}

Oid role_of(const core::SnapshotRequest& request)
{
	Oid role = InvalidOid;
	if (pg::judge_role(pg::from_utf8(request.role).c_str(), role) != pg::RoleVerdict::usable)
		pg::raise(ERRCODE_INSUFFICIENT_PRIVILEGE, ("role \"" + request.role + "\" cannot be used").c_str());
	return role;
}

void read(const core::SnapshotRequest& request, Answers& answers)
{
	begin_transaction();
	{
		const Oid role = role_of(request);
		const std::string claims = pg::from_utf8(request.claims);
		const LockedTable table(request.relation);
		take_snapshot();
		TableReading reading(table.get(), request);
		const core::SnapshotHeader seen{visibility_of(*GetActiveSnapshot()), wal_end(), reading.shape()};
		const std::string header = seen.encode();
		pg::call([&] { answers.send(core::SnapshotMessage::header, header); });
		const ClientGuise guise(role, claims);
		reading.run(answers);
	}
	// Before the last rows, which may have to wait for the worker, are sent.
	pg::commit_unit();
}

// Others are in the way, and may be gone the next time.
bool may_succeed_later(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE) ||
	       sqlstate == ERRCODE_QUERY_CANCELED || sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

core::SnapshotFailure failure_of(pg::Error& error)
{
	core::SnapshotFailure failure;
	const ErrorData* const data = error.data();
	failure.code = unpack_sql_state(data->sqlerrcode);
	failure.message = pg::to_utf8(data->message ? data->message : "unknown error");
	failure.detail = pg::to_utf8(data->detail ? data->detail : "");
	failure.retry = may_succeed_later(data->sqlerrcode);
	error.release();
	return failure;
}

}  // namespace

void Server::run()
{
	while (!answers_.is_unwanted()) {
		MemoryContextReset(pg::turn_memory());
		MemoryContextSwitchTo(pg::turn_memory());
		const char* bytes = nullptr;
		Size length = 0;
		if (!pg::call([&] { return worker_.receive(bytes, length); })) return;
		try {
			answer({bytes, length});
		} catch (pg::Error& error) {
			// First of all, for whatever was going on has not come to its end.
			pg::abort_unit();
			fail(failure_of(error));
		} catch (const std::bad_alloc&) {
			fail({unpack_sql_state(ERRCODE_OUT_OF_MEMORY), "out of memory", "", false});
		}
		pg::call([&] {
			answers_.shrink();
			// At once, for there may be no next request to do it later.
			pgstat_report_stat(true);
		});
	}
}

void Server::answer(std::string_view bytes)
{
	const auto request = core::SnapshotRequest::decode(bytes);
	if (!request) pg::raise(ERRCODE_PROTOCOL_VIOLATION, "the request cannot be read");
	if (worker_.is_cancelled()) pg::raise(ERRCODE_QUERY_CANCELED, "the request has been cancelled");
	read(*request, answers_);
	pg::call([&] {
		const bool spent = !forget_client();
		answers_.send_rows();
		// A request has one end: cancelled in the midst of this one it would get another, and the worker would take that for
		// the end of the next request.
		HOLD_CANCEL_INTERRUPTS();
		if (spent) answers_.send(core::SnapshotMessage::spent, {});
		answers_.send(core::SnapshotMessage::done, {});
		RESUME_CANCEL_INTERRUPTS();
	});
}

void Server::fail(const core::SnapshotFailure& failure)
{
	pg::abort_unit();
	const bool cancelled = worker_.is_cancelled();
	const std::string content = cancelled ? "" : failure.encode();
	try {
		pg::call([&] {
			HOLD_CANCEL_INTERRUPTS();
			const bool spent = !forget_client();
			answers_.recover();
			if (spent && !answers_.is_unwanted()) answers_.send(core::SnapshotMessage::spent, {});
			if (!answers_.is_unwanted())
				answers_.send(cancelled ? core::SnapshotMessage::cancelled : core::SnapshotMessage::failed, content);
			RESUME_CANCEL_INTERRUPTS();
		});
	} catch (pg::Error& error) {
		// Who waits for this end would wait for ever, but notices when the process goes.
		if (!answers_.is_unwanted()) throw;
		// The worker has gone; the loop ends with it.
		error.release();
	}
}

}  // namespace plank::snapshot

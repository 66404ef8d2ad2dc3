// Watches DDL for what row triggers do not see: subscribers get a `reset`, the workers look at the catalog again, and
// column lists in capture triggers follow their columns. Runs in ordinary sessions, around every utility statement: what
// cannot concern tracking is passed on at once, and an error of our own looking would be an error of somebody's DDL.
#include "backend/utility_hook.hpp"

#include "core/capture_arguments.hpp"
#include "core/record.hpp"

#include "backend/statement.hpp"
#include "backend/table_state.hpp"
#include "backend/track.hpp"
#include "backend/tracking.hpp"
#include "backend/transaction_buffer.hpp"
#include "backend/type_use.hpp"
#include "pg/guard.hpp"

namespace plank::backend {

namespace {

ProcessUtility_hook_type next_utility = nullptr;
object_access_hook_type next_access = nullptr;

// What was seen before the statement ran.
struct Before {
	List* states = NIL;
	List* resets_at_once = NIL;  // OIDs: for statements that commit in the middle
};

enum class Interest : uint8_t {
	none,     // cannot concern tracking
	catalog,  // the workers look at the catalog again: privileges, roles, names, policies
	effects,  // it may do what row triggers do not see
};

bool names_plank(const char* extension) { return strcmp(extension, "plank") == 0; }

Interest interest_in(const Node* node)
{
	switch (nodeTag(node)) {
		case T_AlterEnumStmt:
		case T_AlterTableStmt:
		case T_CreateTrigStmt:
		case T_DropStmt:
		case T_RenameStmt:
		case T_TruncateStmt:
			return Interest::effects;
		case T_AlterExtensionContentsStmt:
		case T_AlterExtensionStmt:
		case T_AlterObjectSchemaStmt:
		case T_AlterOwnerStmt:
		case T_AlterPolicyStmt:
		case T_AlterRoleStmt:
		case T_CreateExtensionStmt:
		case T_CreatePolicyStmt:
		case T_CreateRoleStmt:
		case T_DropOwnedStmt:
		case T_DropRoleStmt:
		case T_GrantRoleStmt:
		case T_GrantStmt:
		case T_ReassignOwnedStmt:
			return Interest::catalog;
		default:
			return Interest::none;
	}
}

bool creates_plank(const Node* node)
{
	return IsA(node, CreateExtensionStmt) && names_plank(reinterpret_cast<const CreateExtensionStmt*>(node)->extname);
}

bool commits_prepared(const Node* node)
{
	return IsA(node, TransactionStmt) &&
	       reinterpret_cast<const TransactionStmt*>(node)->kind == TRANS_STMT_COMMIT_PREPARED;
}

// Everything from here to the hooks may ereport: called inside pg::call.

// Whether an ALTER TABLE has a subcommand of the kind.
template <typename Kind>
bool has_command(const AlterTableStmt& statement, const Kind& is_kind)
{
	ListCell* cell;
	foreach (cell, statement.cmds)
		if (is_kind(*lfirst_node(AlterTableCmd, cell))) return true;
	return false;
}

bool changes_columns(const AlterTableCmd& command)
{
	return command.subtype == AT_AddColumn || command.subtype == AT_DropColumn || command.subtype == AT_AlterColumnType;
}

// A new tablespace is a new file with the same rows.
bool may_change_content(const AlterTableCmd& command) { return command.subtype != AT_SetTableSpace; }

// DETACH PARTITION CONCURRENTLY commits in the middle; FINALIZE may find the partition gone from sight already.
bool commits_in_the_middle(const AlterTableCmd& command)
{
	if (command.subtype == AT_DetachPartitionFinalize) return true;
	return command.subtype == AT_DetachPartition && castNode(PartitionCmd, command.def)->concurrent;
}

bool makes_unlogged(const AlterTableCmd& command) { return command.subtype == AT_SetUnLogged; }

// plank.track refuses unlogged tables, so a tracked one must not become one.
void refuse_unlogged(Oid relation)
{
	const Oid root = tracked_root(relation);
	if (!OidIsValid(root)) return;
	ereport(ERROR,
	        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
	         root == relation ? errmsg("cannot make tracked table \"%s\" unlogged", get_rel_name(root))
	                          : errmsg("cannot make partition \"%s\" of tracked table \"%s\" unlogged",
	                                   get_rel_name(relation), get_rel_name(root)),
	         errdetail("A crash empties an unlogged table without a trace."), errhint("Use plank.untrack first.")));
}

// The relation that an ALTER TABLE names, locked as the statement itself will lock it and after the same check of
// privileges, so that what is seen before it is what it starts from.
Oid altered_relation(AlterTableStmt& statement)
{
	return AlterTableLookupRelation(&statement, AlterTableGetLockLevel(statement.cmds));
}

List* typed_tables(Oid type)
{
	List* states = NIL;
	ListCell* cell;
	foreach (cell, tracked_tables()) {
		const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));
		if (!HeapTupleIsValid(tuple)) continue;
		const bool is_typed = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->reloftype == type;
		ReleaseSysCache(tuple);
		if (is_typed) states = lappend(states, state_of(lfirst_oid(cell)));
	}
	return states;
}

List* states_of_altered(const AlterTableStmt& statement, Oid relation)
{
	if (!OidIsValid(relation)) return NIL;
	return statement.objtype == OBJECT_TYPE ? typed_tables(get_rel_type_id(relation)) : states_around(relation);
}

bool is_table_or_type(const AlterTableStmt& statement)
{
	return statement.objtype == OBJECT_TABLE || statement.objtype == OBJECT_TYPE;
}

Before look_before(Node* node)
{
	Before before;
	if (IsA(node, AlterTableStmt)) {
		auto& statement = *reinterpret_cast<AlterTableStmt*>(node);
		if (!is_table_or_type(statement)) return before;
		const Oid relation = altered_relation(statement);
		if (OidIsValid(relation) && has_command(statement, makes_unlogged)) refuse_unlogged(relation);
		before.states = states_of_altered(statement, relation);
		ListCell* cell;
		if (has_command(statement, commits_in_the_middle))
			foreach (cell, before.states)
				before.resets_at_once =
				    lappend_oid(before.resets_at_once, static_cast<TableState*>(lfirst(cell))->root);
	} else if (IsA(node, CreateTrigStmt)) {
		const Oid relation = RangeVarGetRelid(reinterpret_cast<CreateTrigStmt*>(node)->relation, NoLock, true);
		if (OidIsValid(relation) && is_tracked(relation)) before.states = list_make1(state_of(relation));
	}
	return before;
}

void reset_users_of_type(Statement& statement, Oid type, const char* reason)
{
	ListCell* cell;
	foreach (cell, tracked_tables_using(type))
		want_reset(statement, lfirst_oid(cell), reason);
}

void after_alter_table(Statement& statement, AlterTableStmt& alter, const Before& before)
{
	if (!is_table_or_type(alter)) return;
	const Oid relation = RangeVarGetRelid(alter.relation, NoLock, true);
	if (!OidIsValid(relation)) return;
	const List* const states = states_of_altered(alter, relation);
	if (states != NIL) statement.catalog_changed = true;
	if (has_command(alter, may_change_content))
		compare_states(before.states, states,
		               [&](Oid root, const char* reason) { want_reset(statement, root, reason); });
	if (!has_command(alter, changes_columns)) return;
	ListCell* cell;
	foreach (cell, find_all_inheritors(relation, NoLock, nullptr))
		reset_users_of_type(statement, get_rel_type_id(lfirst_oid(cell)), "a composite type that it uses changed");
}

void after_rename(Statement& statement, const RenameStmt& rename)
{
	statement.catalog_changed = true;
	if (rename.renameType != OBJECT_COLUMN && rename.renameType != OBJECT_ATTRIBUTE) return;
	const Oid relation = RangeVarGetRelid(rename.relation, NoLock, true);
	if (!OidIsValid(relation)) return;
	ListCell* cell;
	foreach (cell, find_all_inheritors(relation, NoLock, nullptr)) {
		rewrite_columns(lfirst_oid(cell), rename.subname, rename.newname);
		reset_users_of_type(statement, get_rel_type_id(lfirst_oid(cell)), "a composite type that it uses changed");
	}
}

void after_alter_enum(Statement& statement, const AlterEnumStmt& alter)
{
	if (!alter.oldVal) return;
	const Oid type = typenameTypeId(nullptr, makeTypeNameFromNameList(alter.typeName));
	reset_users_of_type(statement, type, "a label of an enum that it uses was renamed");
}

void after_create_trigger(Statement& statement, const CreateTrigStmt& create, const Before& before)
{
	const Oid relation = RangeVarGetRelid(create.relation, NoLock, true);
	if (!OidIsValid(relation) || (!before.states && !is_tracked(relation))) return;
	statement.catalog_changed = true;
	if (before.states)
		compare_states(before.states, list_make1(state_of(relation)),
		               [&](Oid root, const char* reason) { want_reset(statement, root, reason); });
	else
		want_reset(statement, relation, "tracking changed");
}

void look_after(Statement& statement, const Before& before)
{
	Node* const node = statement.node;
	if (interest_in(node) == Interest::catalog) statement.catalog_changed = true;
	if (interest_in(node) == Interest::effects && !IsA(node, TruncateStmt)) CommandCounterIncrement();
	if (OidIsValid(capture_function())) {
		switch (nodeTag(node)) {
			case T_AlterEnumStmt:
				after_alter_enum(statement, *reinterpret_cast<AlterEnumStmt*>(node));
				break;
			case T_AlterTableStmt:
				after_alter_table(statement, *reinterpret_cast<AlterTableStmt*>(node), before);
				break;
			case T_CreateTrigStmt:
				after_create_trigger(statement, *reinterpret_cast<CreateTrigStmt*>(node), before);
				break;
			case T_DropStmt:
				if (reinterpret_cast<DropStmt*>(node)->removeType == OBJECT_POLICY) statement.catalog_changed = true;
				break;
			case T_RenameStmt:
				after_rename(statement, *reinterpret_cast<RenameStmt*>(node));
				break;
			default:
				break;
		}
	}
	settle(statement);
	ListCell* cell;
	foreach (cell, before.resets_at_once)
		want_reset(statement, lfirst_oid(cell), "its partitions changed");
}

// Whether tracking can be concerned at all: not while plank.track itself makes the triggers, not where the extension is
// missing.
bool is_watched(const Node* node)
{
	if (interest_in(node) == Interest::none || tracking_is_changing() || !IsTransactionState()) return false;
	return creates_plank(node) || OidIsValid(pg::call([] { return capture_function(); }));
}

// The hooks.

void process_utility(PlannedStmt* planned, const char* query, bool read_only_tree, ProcessUtilityContext context,
                     ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* receiver,
                     QueryCompletion* completion)
{
	const auto proceed = [&] {
		(next_utility ? next_utility : standard_ProcessUtility)(planned, query, read_only_tree, context, parameters,
		                                                        environment, receiver, completion);
	};
	if (interest_in(planned->utilityStmt) == Interest::none) {
		const bool commits = commits_prepared(planned->utilityStmt);
		proceed();
		if (commits) note_commit_prepared();
		return;
	}
	pg::entry([&] {
		if (!is_watched(planned->utilityStmt)) return pg::call(proceed);
		// Executing may scribble on the tree; our second look must see what the first one saw.
		Node* const node = pg::call([&] { return static_cast<Node*>(copyObjectImpl(planned->utilityStmt)); });
		Statement statement;
		const StatementScope scope(statement, node);
		const Before before = pg::call([&] { return look_before(node); });
		const ListCell* cell;
		foreach (cell, before.resets_at_once)
			add_reset(lfirst_oid(cell), "its partitions changed");
		pg::call(proceed);
		pg::call([&] { look_after(statement, before); });
		foreach (cell, statement.resets) {
			const auto& reset = *static_cast<const Reset*>(lfirst(cell));
			add_reset(reset.root, reset.reason);
		}
		if (statement.catalog_changed) note_catalog_change();
	});
}

void access_object(ObjectAccessType access, Oid class_id, Oid object, int column, void* argument)
{
	if (next_access) next_access(access, class_id, object, column, argument);
	if (access != OAT_TRUNCATE && access != OAT_DROP) return;
	if (tracking_is_changing() || !IsTransactionState()) return;
	Statement* const statement = current_statement();
	if (access == OAT_DROP && !statement) return;
	pg::entry([&] {
		Oid emptied = InvalidOid;
		pg::call([&] {
			// An extension goes after its members: by then the capture function is no more.
			if (class_id != ExtensionRelationId && !OidIsValid(capture_function())) return;
			if (access == OAT_DROP)
				note_drop(*statement, class_id, object, column);
			else if (statement)
				note_truncate(*statement, object);
			else
				emptied = root_emptied_with(object);
		});
		if (OidIsValid(emptied)) add_reset(emptied, "a partition was truncated");
	});
}

}  // namespace

void install_utility_hook()
{
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	next_access = object_access_hook;
	object_access_hook = access_object;
}

}  // namespace plank::backend

"""The index's tables: positions of events in the journals, and folded states.

`FORMAT` changes with every change here or in what a fold answers; an index of
another format is rebuilt. While a process writes, `user_version` is `DIRTY`: there
is no journal file beside the database (see `edge.index.database`), so a writer
that was killed leaves that mark, and the next one rebuilds.
"""

FORMAT = 12
DIRTY = -1

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE segment(
  seg INTEGER PRIMARY KEY, tool TEXT, writer TEXT, number INTEGER,
  size INTEGER, last_offset INTEGER, last_size INTEGER, last_digest TEXT,
  UNIQUE(tool, writer, number));
CREATE TABLE journal(
  tool TEXT, writer TEXT, seq INTEGER, digest TEXT, event_id TEXT,
  PRIMARY KEY(tool, writer)) WITHOUT ROWID;
CREATE TABLE name(i INTEGER PRIMARY KEY, text TEXT UNIQUE, events INTEGER);
CREATE TABLE event(
  n INTEGER PRIMARY KEY, id TEXT, e INTEGER, seg INTEGER, offset INTEGER, size INTEGER,
  type INTEGER, agent INTEGER, key TEXT);
CREATE INDEX event_key ON event(key) WHERE key IS NOT NULL;
CREATE TABLE copy(id TEXT, seg INTEGER, PRIMARY KEY(id, seg)) WITHOUT ROWID;
CREATE TABLE cause(n INTEGER, parent TEXT, PRIMARY KEY(n, parent)) WITHOUT ROWID;
CREATE TABLE entity(e INTEGER PRIMARY KEY, name TEXT UNIQUE, last TEXT, state BLOB);
CREATE TABLE problem(e INTEGER, event_id TEXT, code TEXT, message TEXT, stands INTEGER);
CREATE TABLE damage(
  tool TEXT, writer TEXT, seq INTEGER, path TEXT, offset INTEGER, code TEXT, message TEXT);
CREATE TABLE item(
  e INTEGER PRIMARY KEY, work_id TEXT UNIQUE, live INTEGER, status TEXT, deleted INTEGER,
  type TEXT, priority INTEGER, assignee TEXT, created_ms INTEGER, updated_ms INTEGER,
  due_ms INTEGER, defer_ms INTEGER, claim_agent TEXT, claim_until INTEGER, needs INTEGER,
  created_by TEXT, external_ref TEXT, resolution TEXT, title TEXT);
CREATE TABLE link(e INTEGER, kind TEXT, target TEXT);
CREATE TABLE label(e INTEGER, label TEXT);
CREATE TABLE searched(e INTEGER PRIMARY KEY);
CREATE TABLE hold(
  e INTEGER, id TEXT, lease_id TEXT, folder TEXT, until_ms INTEGER, lost INTEGER, agent TEXT,
  hold BLOB);
CREATE TABLE message(
  e INTEGER PRIMARY KEY, message_id TEXT, sender TEXT, sent_ms INTEGER, thread_id TEXT,
  work_id TEXT, reply_to TEXT, same TEXT);
CREATE TABLE box(
  e INTEGER, agent TEXT, message_id TEXT, seen INTEGER, needs_ack INTEGER,
  expires_ms INTEGER, snoozed_ms INTEGER);
CREATE TABLE rule(e INTEGER PRIMARY KEY, stopped INTEGER, message_id TEXT, work_id TEXT);
CREATE TABLE run(
  e INTEGER PRIMARY KEY, run_id TEXT UNIQUE, live INTEGER, status TEXT, priority INTEGER,
  request_id TEXT, at_ms INTEGER, agent TEXT, grp TEXT, places INTEGER, outcome TEXT,
  store TEXT, until_ms INTEGER, asked TEXT, held_ms INTEGER);
CREATE TABLE run_after(e INTEGER, target TEXT);
CREATE TABLE run_key(e INTEGER, key TEXT);
CREATE TABLE mail_searched(e INTEGER PRIMARY KEY, same TEXT);
"""

# What is still to be done is a small part of all items: its indexes hold that part alone,
# and every column that `ready` asks for, so that counting reads no items.
# Made after a bulk load: filling them line by line would double its time.
INDEXES = """
CREATE INDEX event_id ON event(id);
CREATE INDEX event_entity ON event(e);
CREATE INDEX cause_parent ON cause(parent);
CREATE INDEX problem_entity ON problem(e);
CREATE INDEX item_next ON item(
  priority, created_ms, work_id, status, live, claim_until, defer_ms, needs)
  WHERE status != 'closed';
CREATE INDEX item_oldest ON item(
  created_ms, work_id, status, live, claim_until, defer_ms, needs) WHERE status != 'closed';
CREATE INDEX item_agent ON item(claim_agent) WHERE claim_agent IS NOT NULL;
CREATE INDEX item_undone ON item(work_id, status) WHERE status != 'closed';
CREATE INDEX link_from ON link(e, kind, target);
CREATE INDEX link_to ON link(target, kind);
CREATE INDEX label_of ON label(e);
CREATE INDEX label_named ON label(label);
CREATE INDEX hold_of ON hold(e, id, until_ms, lost);
CREATE INDEX hold_folder ON hold(folder);
CREATE INDEX hold_named ON hold(lease_id);
CREATE INDEX hold_until ON hold(until_ms);
CREATE INDEX run_next ON run(store, priority, request_id, status, at_ms) WHERE live = 1;
CREATE INDEX run_until ON run(until_ms) WHERE live = 1;
CREATE INDEX run_group ON run(grp, status, places) WHERE live = 1;
CREATE INDEX run_listed ON run(request_id);
CREATE INDEX run_key_of ON run_key(key);
CREATE INDEX run_after_of ON run_after(e, target);
CREATE INDEX message_sender ON message(sender, sent_ms, same);
CREATE INDEX message_thread ON message(thread_id, message_id);
CREATE INDEX message_reply ON message(reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX message_work ON message(work_id) WHERE work_id IS NOT NULL;
CREATE INDEX rule_work ON rule(work_id) WHERE work_id IS NOT NULL;
CREATE INDEX box_of ON box(e);
CREATE INDEX box_page ON box(agent, seen, message_id DESC, expires_ms, snoozed_ms, needs_ack, e);
CREATE INDEX box_unacked ON box(e) WHERE needs_ack = 1;
"""

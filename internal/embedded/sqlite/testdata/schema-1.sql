-- A file as releases with schema version 1 wrote it. It has tombstones of andy, nobody and zoë.
CREATE TABLE batches (
	upload INTEGER NOT NULL,
	first  INTEGER NOT NULL,
	PRIMARY KEY (upload, first)
) STRICT, WITHOUT ROWID;
INSERT INTO "batches" VALUES(1,0);
INSERT INTO "batches" VALUES(2,0);
INSERT INTO "batches" VALUES(3,0);
INSERT INTO "batches" VALUES(4,0);
CREATE TABLE favorites (
	person  TEXT PRIMARY KEY,
	origin  INTEGER NOT NULL,
	"offset" INTEGER NOT NULL,
	flavor  TEXT,
	expires INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "favorites" VALUES('andy',2,0,NULL,1795003600000);
INSERT INTO "favorites" VALUES('ben',3,0,'back',NULL);
INSERT INTO "favorites" VALUES('cleo',1,2,'mint',NULL);
INSERT INTO "favorites" VALUES('nobody',2,2,NULL,1795003600000);
INSERT INTO "favorites" VALUES('zoë',4,0,NULL,1795005400000);
CREATE TABLE origins (
	id     INTEGER PRIMARY KEY,
	origin TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO "origins" VALUES(1,'01a1ee565e01-00550000000000000000000000000000-x01hfpkn2w4bcrtet4a1ssnshr');
INSERT INTO "origins" VALUES(2,'01a1ee565e02-00550000000000000000000000000000-yptm0ysrg31wk1h8vds3068tv4');
INSERT INTO "origins" VALUES(3,'01a1ee565e03-00550000000000000000000000000000-y6fpbejf8n31ne07xqzv8grgf4');
INSERT INTO "origins" VALUES(4,'01a1ee565e04-00550000000000000000000000000000-xtk9f134v0h9qryrdfcg70enmc');
CREATE TABLE outbox (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	changes BLOB NOT NULL
) STRICT;
CREATE TABLE rejects (
	upload INTEGER PRIMARY KEY,
	list   TEXT NOT NULL
) STRICT;
CREATE TABLE uploads (
	id             INTEGER PRIMARY KEY,
	upload         TEXT NOT NULL UNIQUE,
	origin         TEXT NOT NULL UNIQUE, -- the order of uploads among each other
	bucket         TEXT NOT NULL DEFAULT '',
	key            TEXT NOT NULL DEFAULT '', -- empty: batches came, Begin did not yet
	version_id     TEXT NOT NULL DEFAULT '',
	etag           TEXT NOT NULL DEFAULT '',
	size           INTEGER NOT NULL DEFAULT 0,
	status         TEXT NOT NULL DEFAULT 'publishing',
	failure        TEXT, -- JSON
	format         TEXT NOT NULL DEFAULT '',
	rejects_at     TEXT NOT NULL DEFAULT '',
	rows           INTEGER NOT NULL DEFAULT 0,
	applied        INTEGER NOT NULL DEFAULT 0,
	superseded     INTEGER NOT NULL DEFAULT 0,
	rejected       INTEGER NOT NULL DEFAULT 0,
	batches        INTEGER NOT NULL DEFAULT 0,
	batches_applied INTEGER NOT NULL DEFAULT 0,
	uploaded       INTEGER NOT NULL,
	started        INTEGER NOT NULL,
	published      INTEGER NOT NULL DEFAULT 0,
	settled        INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "uploads" VALUES(1,'x01hfpkn2w4bcrtet4a1ssnshr','01a1ee565e01-00550000000000000000000000000000-x01hfpkn2w4bcrtet4a1ssnshr','','','','',0,'publishing',NULL,'','',0,4,0,0,0,1,1795000000001,1795000000000,0,0);
INSERT INTO "uploads" VALUES(2,'yptm0ysrg31wk1h8vds3068tv4','01a1ee565e02-00550000000000000000000000000000-yptm0ysrg31wk1h8vds3068tv4','','','','',0,'publishing',NULL,'','',0,3,0,0,0,1,1795000000002,1795000000000,0,0);
INSERT INTO "uploads" VALUES(3,'y6fpbejf8n31ne07xqzv8grgf4','01a1ee565e03-00550000000000000000000000000000-y6fpbejf8n31ne07xqzv8grgf4','','','','',0,'publishing',NULL,'','',0,1,0,0,0,1,1795000000003,1795001800000,0,0);
INSERT INTO "uploads" VALUES(4,'xtk9f134v0h9qryrdfcg70enmc','01a1ee565e04-00550000000000000000000000000000-xtk9f134v0h9qryrdfcg70enmc','','','','',0,'publishing',NULL,'','',0,1,0,0,0,1,1795000000004,1795001800000,0,0);
CREATE INDEX tombstones ON favorites (expires) WHERE expires IS NOT NULL;
PRAGMA user_version = 1;

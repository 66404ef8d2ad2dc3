-- Exposed channels, and what a channel may be called.
CREATE EXTENSION plank;
CREATE ROLE regress_web;
CREATE ROLE regress_app;

SELECT plank.expose('jobs');
SELECT plank.expose('jobs');
SELECT plank.expose('orders', 'regress_web');
SELECT plank.expose('orders', 'regress_app');
SELECT plank.expose('orders', role => 'regress_web');
SELECT * FROM plank.channel ORDER BY channel, role::text;
SELECT plank.unexpose('orders');
SELECT plank.unexpose('orders');
SELECT plank.unexpose('never');
SELECT * FROM plank.channel;

-- Roles are followed when they are renamed; a role that was dropped is nobody.
SELECT plank.expose('orders', 'regress_web');
ALTER ROLE regress_web RENAME TO regress_browser;
SELECT * FROM plank.channel WHERE channel = 'orders';
DROP ROLE regress_browser;
SELECT count(*) AS exposed_to_somebody FROM plank.channel c JOIN pg_roles r ON r.oid = c.role;
SELECT plank.expose('orders', 'regress_browser');
SELECT plank.expose('orders', 0);
SELECT plank.unexpose('orders');

-- Names: 1 to 63 bytes, as for NOTIFY, and not Plank's own.
SELECT plank.expose('');
SELECT plank.expose(NULL);
SELECT plank.expose(repeat('x', 64));
SELECT plank.expose(repeat('ä', 32));
SELECT plank.expose('plank:0123456789abcdef');
SELECT plank.unexpose(NULL);
INSERT INTO plank.channel VALUES ('plank:0123456789abcdef', NULL);
INSERT INTO plank.channel VALUES ('', NULL);
SELECT plank.expose('Ünïcode "channel''');
SELECT plank.expose(repeat('ä', 31) || 'x');
SELECT plank.expose('plank');
SELECT octet_length(channel), channel FROM plank.channel ORDER BY channel COLLATE "C";

-- Sending needs no exposure; what nobody may subscribe to goes nowhere.
SELECT plank.send('jobs', '{"done": 3}');
SELECT plank.send('jobs', '"Ünïcode \u0041"'), plank.send('jobs', 'null'), plank.send('jobs', NULL);
SELECT plank.send('jobs', to_jsonb(repeat('x', 1000000)));
SELECT plank.send(NULL, '1');
SELECT plank.send('', '1');
SELECT plank.send(repeat('x', 64), '1');
SELECT plank.send('plank:0123456789abcdef', '1');
BEGIN;
SELECT plank.send('jobs', '1');
SAVEPOINT a;
SELECT plank.send('jobs', '2');
ROLLBACK TO a;
COMMIT;

DROP ROLE regress_app;
DROP EXTENSION plank;

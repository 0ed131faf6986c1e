// Package droppoint hands messages over to drop points: SMTP servers and drop directories. It keeps
// a pool of connections for each drop point, and reads the drop points' URLs.
//
// # The two steps of a message
//
// A caller acquires a [Conn] from a [DropPoint] and sends messages over it, one after the other.
// Each message takes two steps:
//
//	Begin    envelope and body; after an error the message is certainly not handed over
//	Finish   the final step: the dot of RFC 5321, or the rename that makes a file visible
//
// Between the two steps the caller commits its intent to the ledger. [OutcomeOf] tells what an
// error of either step means for the message.
//
//	DropPoint (pool.go) ─▶ pooledConn (conn.go) ─▶ smtpConn (smtp.go) ─▶ package smtp
//	                                            └▶ directoryConn (directory.go)
//
// # URLs
//
// A drop point has a name, which mailings use, and a URL, which only workers know:
//
//	smtp://user:password@host:587?connections=8&messages=1000&tls=required&hello=mail.example.com
//	smtps://user:password@host:465
//	dir:/var/spool/drop?connections=8
//
// All parameters are optional. A directory has only the first:
//
//	connections      connections at most, from one worker, over all its batches and mailings (8). A
//	                 message waits for the ledger between its body and its dot, so more connections
//	                 give more throughput. 8 is within what relays allow a host by default. Use 32
//	                 for a server of your own
//	messages         messages over one connection (1000); 0 for no limit
//	tls              opportunistic, required (the default with a password) or none. Certificates are
//	                 always verified
//	ca               PEM file of the certificate authorities to trust, instead of the system's
//	hello            our name in EHLO (default: the name of this host)
//	servername       the name in the server's certificate (default: the host)
//	auth             the one log-in mechanism: plain, login, cram-md5, scram-sha-256, or xoauth2,
//	                 for which the password is an access token. The default is the strongest one
//	                 that the server offers. Over TLS, the next one follows after a refusal
//	password_file    a file with the password, read again at each log-in
//	password_command a program that prints the password, run again at each log-in, without a shell
//	idempotency      name of a header field that is put before each message. Its value is the same
//	                 for every attempt at a recipient, for relays that drop repeated messages
//	next_behind_dot  true: send the next envelope together with the final dot, which saves a round
//	                 trip. Do not use it with Postfix, which then delays the answer to the dot
//
// # Drop directories
//
// A drop directory gets one file for each message, "<name>.eml". The name is a function of mailing
// and recipient, so a message that is delivered again replaces its own file. The first lines of the
// file are the envelope, as in the pickup directory of Microsoft's SMTP service. The message
// follows:
//
//	X-Sender: <bounces@example.com>
//	X-Receiver: <somebody@example.org>
//
// A file is written under a temporary name (.dm-*.part), synced and renamed. Then the directory is
// synced. Owner and group can read the files: a service that picks them up as another user needs
// the directory's group (chmod g+s). If a file server loses its answer to the rename, the message
// is uncertain, unless the file is found under its final name.
package droppoint

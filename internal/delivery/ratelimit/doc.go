// Package ratelimit keeps all workers and mailings together to rates of messages per drop point,
// recipient domain and mailing. It is the only writer of the table rate_limits.
//
// A limit is a row of that table. Time is divided into turns, one interval apart by the database's
// clock. A message goes in a turn that its worker holds, under every limit that it falls under.
// Turns come in frames of half a second, or of one turn if the interval is longer. A frame begins
// when the one before it ends, or later, never earlier.
//
// A worker leases turns of the next frame with one statement (sql/lease.sql), which counts in the
// row how many are given away, and holds them as bits in memory. Consecutive turns of a lease lie
// evenly over the frame (frame.go), so that workers can send at the same time, each at its own
// pace. When a worker first asks in a frame, it gets no more than an equal share among those who
// ask. How much it asks for follows from how much it used of the last frame. The rest is for
// workers that need more.
//
// A turn may be taken from its time on, until two intervals later, or 10 ms if that is longer. Then
// it is lost. So in any window of time of length w, all workers together send no more than
//
//	rate × (w + max(2 intervals, 10 ms)) + 1
//
// messages: 3 above rate × w for rates up to 200/s, 11 at 1,000/s. A turn is never early: the
// answers of the database bound the time at which its clock shows a value (clock.go), and the
// worker's own clock is not used. If those bounds lie further apart than half of the 10 ms or two
// intervals, which takes a database that is far away, their distance is added to the window.
//
// What is lost by which failure:
//
//	a worker dies                   the turns that it held, for up to 0.7 s, go unused
//	all workers die                 the row has what was given: no turn is given twice
//	the database or network fails   turns in hand can be taken to their end; then Ask returns the error
//	the answer of a lease is lost   its turns go unused
//	the database dies after the     the same, because a lease is committed durably before it is answered
//	commit of a lease
//	a worker stops and goes on      turns in hand are too late, the limits stale: both are asked for again
//	the worker's host is suspended  its clock stands still: what it held, up to 0.7 s, may go when it wakes
//	the server's clock is set       turns of up to 0.7 s are lost, or come as much sooner; nothing waits for
//	                                the old time to come again
//
// A change of a rate closes the frames that are open. Turns that were given before it can be taken
// to their end, at most 0.7 s later. A worker that notices a lower rate gives them up. It notices
// the change when it next leases turns, or after a second, when it reads the limits again. A worker
// in which no message asks for turns does neither.
package ratelimit

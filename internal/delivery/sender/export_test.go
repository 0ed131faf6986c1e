package sender

// EndTurn ends the turn at once.
func (s *Sending) EndTurn() { s.queue.endTurn() }

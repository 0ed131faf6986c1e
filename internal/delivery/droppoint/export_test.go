package droppoint

import "time"

// SetReopenPatience sets how long a message waits for a connection in the place of a closed one.
func SetReopenPatience(d *DropPoint, patience time.Duration) { d.reopenPatience = patience }

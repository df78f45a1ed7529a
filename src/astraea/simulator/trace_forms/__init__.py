"""One file for each form in which agent traces are published; each turns text into jobs and knows no other form."""

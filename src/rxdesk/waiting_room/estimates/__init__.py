"""How long a patient will wait: learned lengths and rates, and a forward simulation. Pure: no database, no clock."""

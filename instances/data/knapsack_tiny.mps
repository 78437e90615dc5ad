NAME        knapsack-12-3-s2
OBJSENSE
  MAX
ROWS
 N  Obj     
 L  capacity[0]
 L  capacity[1]
 L  capacity[2]
COLUMNS
    MARK0000  'MARKER'                 'INTORG'
    pack[0]   Obj       98.099999999999994
    pack[0]   capacity[0]  84
    pack[0]   capacity[1]  99
    pack[0]   capacity[2]  76
    pack[1]   Obj       38
    pack[1]   capacity[0]  29
    pack[1]   capacity[1]  22
    pack[1]   capacity[2]  46
    pack[2]   Obj       67.700000000000003
    pack[2]   capacity[0]  15
    pack[2]   capacity[1]  88
    pack[2]   capacity[2]  69
    pack[3]   Obj       52.299999999999997
    pack[3]   capacity[0]  33
    pack[3]   capacity[1]  10
    pack[3]   capacity[2]  68
    pack[4]   Obj       92.099999999999994
    pack[4]   capacity[0]  44
    pack[4]   capacity[1]  58
    pack[4]   capacity[2]  94
    pack[5]   Obj       75.900000000000006
    pack[5]   capacity[0]  82
    pack[5]   capacity[1]  31
    pack[5]   capacity[2]  45
    pack[6]   Obj       41.5
    pack[6]   capacity[0]  47
    pack[6]   capacity[1]  24
    pack[6]   capacity[2]  25
    pack[7]   Obj       76.099999999999994
    pack[7]   capacity[0]  13
    pack[7]   capacity[1]  67
    pack[7]   capacity[2]  65
    pack[8]   Obj       68.5
    pack[8]   capacity[0]  36
    pack[8]   capacity[1]  34
    pack[8]   capacity[2]  93
    pack[9]   Obj       92.799999999999997
    pack[9]   capacity[0]  62
    pack[9]   capacity[1]  58
    pack[9]   capacity[2]  96
    pack[10]  Obj       69.200000000000003
    pack[10]  capacity[0]  82
    pack[10]  capacity[1]  29
    pack[10]  capacity[2]  87
    pack[11]  Obj       57.100000000000001
    pack[11]  capacity[0]  74
    pack[11]  capacity[1]  19
    pack[11]  capacity[2]  69
    MARK0001  'MARKER'                 'INTEND'
RHS
    RHS_V     capacity[0]  300
    RHS_V     capacity[1]  269
    RHS_V     capacity[2]  416
BOUNDS
 BV BOUND     pack[0] 
 BV BOUND     pack[1] 
 BV BOUND     pack[2] 
 BV BOUND     pack[3] 
 BV BOUND     pack[4] 
 BV BOUND     pack[5] 
 BV BOUND     pack[6] 
 BV BOUND     pack[7] 
 BV BOUND     pack[8] 
 BV BOUND     pack[9] 
 BV BOUND     pack[10]
 BV BOUND     pack[11]
ENDATA
